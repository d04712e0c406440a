"""The parameters of one layer in one direction, and what their shapes say."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import NamedTuple

from torch import Tensor

from fastlstm.nn.switches import Switches
from fastlstm.ops.arguments import PARAMETERS, gate_count, parameter_shapes


class LayerParameters(NamedTuple):
    """One layer's parameters in one direction, named as in ``torch.nn.LSTM``.

    ``H`` is the hidden size, ``R`` the width of the hidden state (``proj_size`` where there is a
    projection, else ``H``), ``I`` the layer's input size and ``G`` the number of gates: 4
    (i, f, g, o), or 3 (f, g, o) where the gates are coupled. What is None is off.
    """

    weight_ih: Tensor  # (G·H, I)
    weight_hh: Tensor  # (G·H, R)
    bias_ih: Tensor | None = None  # (G·H)
    bias_hh: Tensor | None = None  # (G·H)
    weight_hr: Tensor | None = None  # (R, H)
    weight_peephole: Tensor | None = None  # (3, H): to i, f and o; (2, H), to f and o, if coupled
    norm_ih: Tensor | None = None  # (G·H)
    norm_hh: Tensor | None = None  # (G·H)
    norm_cell: Tensor | None = None  # (H)
    norm_cell_bias: Tensor | None = None  # (H)


assert LayerParameters._fields == PARAMETERS, "the scan takes the same parameters in this order"


@cache
def field_of(name: str) -> str:
    """The field of ``LayerParameters`` from a name with its layer's suffix: ``bias_hh_l0``."""
    return name.rsplit("_l", 1)[0]


class LayerShapes(NamedTuple):
    """The sizes of a stack of layers."""

    input_size: int
    hidden_size: int
    recurrent_size: int
    layers: int
    directions: int


def as_layer_parameters(
    parameters: Sequence[LayerParameters | Mapping[str, Tensor]], function: str
) -> list[LayerParameters]:
    """The same parameters as ``LayerParameters``, from these or from mappings by name."""
    if isinstance(parameters, (LayerParameters, Mapping)) or not isinstance(parameters, Sequence):
        raise TypeError(
            f"{function}: parameters must be a list with an entry for each layer and direction, "
            f"got {type(parameters).__name__}"
        )
    if not parameters:
        raise ValueError(f"{function}: parameters must hold at least one layer, got none")
    result = []
    for layer in parameters:
        if isinstance(layer, LayerParameters):
            result.append(layer)
            continue
        if not isinstance(layer, Mapping):
            raise TypeError(
                f"{function}: a layer's parameters must be LayerParameters or a mapping of names "
                f"to tensors, got {type(layer).__name__}"
            )
        unknown = set(layer) - set(LayerParameters._fields)
        missing = {"weight_ih", "weight_hh"} - set(layer)
        if unknown or missing:
            raise ValueError(
                f"{function}: a layer's parameters are {', '.join(LayerParameters._fields)}; "
                f"unknown: {sorted(unknown)}, missing: {sorted(missing)}"
            )
        result.append(LayerParameters(**layer))
    return result


def shapes_of(
    parameters: Sequence[LayerParameters], directions: int, switches: Switches
) -> LayerShapes:
    """The sizes that the first layer's parameters and their number imply."""
    first = parameters[0]
    gates = gate_count(switches.coupled_gates)
    return LayerShapes(
        first.weight_ih.shape[1],
        first.weight_hh.shape[0] // gates,
        first.weight_hh.shape[1],
        len(parameters) // directions,
        directions,
    )


def check_layer_parameters(
    parameters: Sequence[LayerParameters], shapes: LayerShapes, switches: Switches, function: str
) -> None:
    """Raise a ``ValueError`` that names the first parameter whose shape does not fit."""
    if len(parameters) % shapes.directions:
        raise ValueError(
            f"{function}: with bidirectional=True parameters must hold two entries for each "
            f"layer, got {len(parameters)}"
        )
    first, gates = parameters[0], gate_count(switches.coupled_gates)
    hidden = shapes.recurrent_size if first.weight_hr is None else first.weight_hr.shape[-1]
    for index, layer in enumerate(parameters):
        below = index // shapes.directions
        features = shapes.recurrent_size * shapes.directions if below else shapes.input_size
        expected = parameter_shapes(gates, hidden, shapes.recurrent_size, features)
        for name, value in layer._asdict().items():
            if value is not None and tuple(value.shape) != expected[name]:
                raise ValueError(
                    f"{function}: {name} of parameters[{index}] must have shape "
                    f"{list(expected[name])} ({gates} gates, hidden size {hidden}), "
                    f"got {list(value.shape)}"
                )
