"""The switches of the layer: their values, checked, in one place."""

import math
import numbers
import warnings
from typing import Any, NamedTuple

Rate = float
"""A probability, in [0, 1]."""


class Switches(NamedTuple):
    """How a stack of layers runs, apart from what its parameters say.

    A zero (or None, or False) is off and costs nothing. The sources are in ``LSTM``'s docstring.
    """

    coupled_gates: bool = False
    dropout: Rate = 0.0
    recurrent_dropout: Rate = 0.0
    weight_dropout: Rate = 0.0
    locked_dropout: Rate = 0.0
    zoneout: tuple[Rate, Rate] = (0.0, 0.0)  # of the cell, of the hidden state
    cell_clip: float | None = None
    residual: bool = False
    checkpoint_every: int | None = None


OFF = {
    "peephole": False,
    "layer_norm": False,
    "coupled_gates": False,
    "recurrent_dropout": 0.0,
    "weight_dropout": 0.0,
    "locked_dropout": 0.0,
    "zoneout": (0.0, 0.0),
    "cell_clip": None,
    "residual": False,
    "forget_bias": None,
    "checkpoint_every": None,
}
"""What ``torch.nn.LSTM`` lacks: the attribute of each switch, and the value that means off."""


def switches_on(layer: object) -> list[str]:
    """``name=value`` of each switch of a layer that is on, for its ``repr``."""
    return [
        f"{name}={getattr(layer, name)!r}"
        for name, off in OFF.items()
        if getattr(layer, name, off) != off
    ]


def check_flag(name: str, value: object) -> bool:
    """``value`` itself where it is a bool."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} should be of type bool, got: {type(value).__name__}")
    return value


def check_rate(name: str, value: object) -> Rate:
    """``value`` as a float where it is a probability."""
    number = _as_float(value)
    if number is None or not 0 <= number <= 1:
        raise ValueError(f"{name} should be a number in range [0, 1], got {value!r}")
    return number


def check_zoneout(value: object) -> tuple[Rate, Rate]:
    """A pair of rates, for the cell and for the hidden state, from one rate or a pair."""
    if isinstance(value, (tuple, list)):
        if len(value) != 2:
            raise ValueError(
                "zoneout should be one rate or a pair of rates (cell, hidden), "
                f"got {len(value)} values"
            )
        return check_rate("zoneout[0]", value[0]), check_rate("zoneout[1]", value[1])
    rate = check_rate("zoneout", value)
    return rate, rate


def check_positive(name: str, value: object) -> float | None:
    """``value`` as a float where it is a finite number above zero; None for None."""
    number = _as_float(value)
    if value is not None and (number is None or not 0 < number < math.inf):
        raise ValueError(f"{name} should be a positive finite number or None, got {value!r}")
    return number


def check_number(name: str, value: object) -> float | None:
    """``value`` as a float where it is a finite number; None for None."""
    number = _as_float(value)
    if value is not None and (number is None or not math.isfinite(number)):
        raise ValueError(f"{name} should be a finite number or None, got {value!r}")
    return number


def _as_float(value: object) -> float | None:
    """A number as a float, and None for all else; True and False are no numbers here."""
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        return None
    return float(value)


def check_every(name: str, value: object) -> int | None:
    """``value`` itself where it is a positive int or None."""
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} should be a positive int or None, got: {type(value).__name__}")
    if value <= 0:
        raise ValueError(f"{name} should be a positive int or None, got {value}")
    return value


def check_residual(residual: bool, input_size: int, output_size: int, layers: int) -> None:
    """Refuse a ``residual`` that would never be added."""
    if residual and layers == 1 and input_size != output_size:
        raise ValueError(
            "residual adds a layer's input to its output, so with one layer input_size must equal "
            f"the output's width, got {input_size} and {output_size}"
        )


def warn_about_locked_dropout(rate: Rate, layers: int) -> None:
    """Warn, as ``nn.LSTM`` does for ``dropout``, where there is no place between layers."""
    if rate and layers == 1:
        warnings.warn(
            "locked_dropout adds dropout after all but the last layer, so a non-zero value expects "
            f"num_layers greater than 1, but got locked_dropout={rate} and num_layers=1",
            stacklevel=3,
        )


_CHECKS = {
    "recurrent_dropout": check_rate,
    "weight_dropout": check_rate,
    "locked_dropout": check_rate,
    "zoneout": lambda _, value: check_zoneout(value),
    "cell_clip": check_positive,
    "residual": check_flag,
    "forget_bias": check_number,
    "checkpoint_every": check_every,
}

_FIXED = ("peephole", "layer_norm", "coupled_gates")
"""The switches that decide which parameters there are."""


def check_change(layer: object, name: str, value: Any) -> Any:
    """The value to set an attribute of a layer to; a switch's is checked as when it was made.

    Raises:
        AttributeError: the switch decides which parameters the layer has, so it cannot change.
        TypeError, ValueError: as when the layer was made.
    """
    if name in _CHECKS:
        return _CHECKS[name](name, value)
    if name in _FIXED and value != getattr(layer, name):
        raise AttributeError(
            f"{name} decides which parameters the layer has and is fixed when it is made: "
            f"it is {getattr(layer, name)!r} and cannot become {value!r}"
        )
    return value


def make_switches(
    *,
    coupled_gates: object = False,
    dropout: object = 0.0,
    recurrent_dropout: object = 0.0,
    weight_dropout: object = 0.0,
    locked_dropout: object = 0.0,
    zoneout: object = 0.0,
    cell_clip: object = None,
    residual: object = False,
    checkpoint_every: object = None,
) -> Switches:
    """The switches with every value checked.

    Raises:
        TypeError: a value is of the wrong type.
        ValueError: a value is out of its range.
    """
    return Switches(
        coupled_gates=check_flag("coupled_gates", coupled_gates),
        dropout=check_rate("dropout", dropout),
        recurrent_dropout=check_rate("recurrent_dropout", recurrent_dropout),
        weight_dropout=check_rate("weight_dropout", weight_dropout),
        locked_dropout=check_rate("locked_dropout", locked_dropout),
        zoneout=check_zoneout(zoneout),
        cell_clip=check_positive("cell_clip", cell_clip),
        residual=check_flag("residual", residual),
        checkpoint_every=check_every("checkpoint_every", checkpoint_every),
    )
