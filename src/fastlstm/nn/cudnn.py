"""The back end "cudnn": layers that are ``nn.LSTM``'s own, whole, by NVIDIA's library.

cuDNN overlaps layers and directions, so it gets a stack of them at once, where our back ends get
one scan after another. It serves the equations of 1997 and 2000 and a projection, on rows of equal
length or on a packed sequence. Unlike in ``nn.LSTM`` second derivatives exist: they are taken
through the scans. What runs the layers is in `cudnn_layers.py`, where their weights lie in
`cudnn_weights.py`; here is which calls go there.

Of a packed sequence, `Sequences` has the data (N, I) as its input here, and no lengths; what says
how many rows each step has comes beside it, and is empty for rows of equal length.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from fastlstm.nn.cudnn_layers import cast_together, flat, run_layers
from fastlstm.nn.cudnn_weights import FIELDS, takes
from fastlstm.nn.parameters import LayerParameters
from fastlstm.nn.stack import Sequences, StackResult
from fastlstm.nn.switches import Switches
from fastlstm.ops import eager, rules
from fastlstm.ops.arguments import any_requires_grad, parameter_shapes
from fastlstm.ops.backends import CUDNN, forced
from fastlstm.ops.scan import cast_by_autocast, forward_mode_is_active


def is_asked(input: Tensor) -> bool:
    """Whether `run` looks at a call with this input at all."""
    name = forced() or (CUDNN if input.device.type == "cuda" else "")
    return name == CUDNN and not torch.compiler.is_compiling()


class Choice(NamedTuple):
    """Whether cuDNN serves a call, and why."""

    serves: bool
    reason: str


def choose(
    sequences: Sequences,
    parameters: Sequence[LayerParameters],
    directions: int,
    switches: Switches,
    training: bool,
) -> Choice:
    """Decide whether cuDNN serves a call; the arguments are those of `run`.

    Raises:
        RuntimeError: it is forced and cannot; says why.
    """
    with _without_autocast(sequences, parameters, directions) as cast:
        return _choose(*cast, directions, switches, training)


def _choose(
    sequences: Sequences,
    parameters: Sequence[LayerParameters],
    directions: int,
    switches: Switches,
    training: bool,
) -> Choice:
    if forced() not in ("", CUDNN):
        return Choice(False, f"{forced()} is forced")
    refused = _refusal(sequences, parameters, directions, switches, training)
    if forced():
        if refused:
            raise RuntimeError(f"the back end {CUDNN!r} cannot serve this call: {refused}")
        return Choice(True, "forced")
    if refused:
        return Choice(False, refused)
    x, h_0 = sequences.input, sequences.initial[0]
    if len(x) == 1:
        return Choice(False, "one step is left to our kernels, which want no weights in its order")
    rows = h_0.shape[1]
    call = rules.Call(
        x.dtype,
        _trains(sequences, parameters),
        rows,
        sequences.initial[1].shape[-1],
        len(x) if x.dim() == 3 else -(-len(x) // rows),  # of a packed sequence those of a mean row
        scans=len(h_0),
    )
    fastest = rules.fastest(rules.STACKS, call)
    if fastest not in (None, CUDNN):
        return Choice(False, "our own kernels were measured to be faster")
    return Choice(True, "cuDNN takes all layers and directions of plain cells at once")


def run(
    sequences: Sequences,
    parameters: Sequence[LayerParameters],
    directions: int,
    switches: Switches,
    training: bool,
    batch_sizes: Sequence[int] = (),
) -> StackResult | None:
    """What ``run_stack`` returns, without its scans; None where cuDNN does not serve the call.

    Args:
        sequences: the batch; or a packed one, see above.
        parameters: as for ``run_stack``, and so the two after them.
        directions: 1 or 2.
        switches: the layers' switches.
        training: whether dropout draws masks.
        batch_sizes: of a packed sequence, the rows of each step.
    """
    if not is_asked(sequences.input):
        return None
    if not forced() and (
        len(sequences.input) == 1 or _unknown(sequences, parameters, switches, training)
    ):
        return None  # before autocast casts all tensors for it
    with _without_autocast(sequences, parameters, directions) as (sequences, parameters):
        if not _choose(sequences, parameters, directions, switches, training).serves:
            return None
        rate = switches.dropout if training else 0.0
        # Dropout between layers is drawn by PyTorch, so that second derivatives have it too.
        each = directions if rate else len(parameters)
        x = sequences.input
        of_h, of_c = [], []
        for first in range(0, len(parameters), each):
            here = slice(first, first + each)
            x = F.dropout(x, rate) if rate and first else x
            initial = (sequences.initial[0][here], sequences.initial[1][here])
            x, h_n, c_n = run_layers(x, initial, parameters[here], directions, batch_sizes)
            of_h.append(h_n)
            of_c.append(c_n)
        whole = each == len(parameters)
        final = (of_h[0], of_c[0]) if whole else (torch.cat(of_h), torch.cat(of_c))
        return StackResult(x, final, [])


def _refusal(
    sequences: Sequences,
    parameters: Sequence[LayerParameters],
    directions: int,
    switches: Switches,
    training: bool,
) -> str | None:
    x = sequences.input
    tensors = flat(x, sequences.initial, parameters)
    if forward_mode_is_active() or not eager.is_untransformed(tensors, x.device.type):
        return "a compiler, a transform, a mode or a subclass of tensor is at work"
    if not takes(x):
        return f"cuDNN is absent or turned off, or does not take {x.dtype} on {x.device}"
    if torch.are_deterministic_algorithms_enabled():
        return "deterministic algorithms are asked for, and cuDNN's are not in all its versions"
    unknown = _unknown(sequences, parameters, switches, training)
    if unknown is None and not _fit(sequences, parameters, directions):
        return "a parameter's shape, dtype or device does not fit"
    return unknown


def _unknown(
    sequences: Sequences,
    parameters: Sequence[LayerParameters],
    switches: Switches,
    training: bool,
) -> str | None:
    """What cuDNN has no word for in a call, whatever its tensors are; or None."""
    if sequences.lengths is not None or sequences.reset is not None:
        return "it knows neither lengths nor resets"
    others = LayerParameters._fields[len(FIELDS) :]
    given = [name for name in others if getattr(parameters[0], name) is not None]
    unknown = [*given, *_switches_on(switches, training)]
    return f"it does not know {', '.join(unknown)}" if unknown else None


def _switches_on(switches: Switches, training: bool) -> list[str]:
    """The switches that change what a call calculates; dropout between layers is not one."""
    names = ["coupled_gates", "cell_clip", "residual", "checkpoint_every"]
    if training:
        names += ["recurrent_dropout", "weight_dropout", "locked_dropout"]
    on = [name for name in names if getattr(switches, name)]
    return [*on, "zoneout"] if any(switches.zoneout) else on


def _fit(sequences: Sequences, parameters: Sequence[LayerParameters], directions: int) -> bool:
    """Whether each parameter is as the scans would want it; where not, they say what is wrong."""
    x, (h_0, c_0) = sequences.input, sequences.initial
    if parameters[0].weight_hr is None and h_0.shape[-1] != c_0.shape[-1]:
        return False
    features = x.shape[-1]
    for index, layer in enumerate(parameters):
        if index == directions:
            features = directions * h_0.shape[-1]
        shapes = parameter_shapes(4, c_0.shape[-1], h_0.shape[-1], features)
        for name in FIELDS:
            value = getattr(layer, name)
            if (value is None) != (getattr(parameters[0], name) is None):
                return False
            if value is None:
                continue
            if value.shape != shapes[name] or value.dtype != x.dtype or value.device != x.device:
                return False
        if (layer.bias_ih is None) != (layer.bias_hh is None):
            return False
    return all(state.dtype == x.dtype and state.device == x.device for state in (h_0, c_0))


def _trains(sequences: Sequences, parameters: Sequence[LayerParameters]) -> bool:
    tensors = flat(sequences.input, sequences.initial, parameters)
    return torch.is_grad_enabled() and any_requires_grad(tensors)


@contextmanager
def _without_autocast(
    sequences: Sequences, parameters: Sequence[LayerParameters], directions: int
) -> Iterator[tuple[Sequences, Sequence[LayerParameters]]]:
    """A block in which autocast is off, since it has cast these already where it was on."""
    device_type = sequences.input.device.type
    known = torch.amp.is_autocast_available(device_type)
    if not known or not torch.is_autocast_enabled(device_type):
        yield sequences, parameters
        return
    dtype = torch.get_autocast_dtype(device_type)
    with torch.autocast(device_type, enabled=False):
        yield _cast(sequences, parameters, directions, dtype)


def _cast(
    sequences: Sequences,
    parameters: Sequence[LayerParameters],
    directions: int,
    dtype: torch.dtype,
) -> tuple[Sequences, list[LayerParameters]]:
    """What autocast makes of the tensors before an operator that is to run in 16 bits."""
    given, device_type = (sequences.input, *sequences.initial), sequences.input.device.type
    x, h_0, c_0 = (cast_by_autocast(value, device_type, dtype) for value in given)
    weights, layers = flat(given[0], sequences.initial, parameters)[3:], None
    if not forward_mode_is_active() and eager.is_untransformed(weights, device_type):
        layers = cast_together(given[0], sequences.initial, parameters, directions, dtype)
    if layers is None:
        layers = [
            LayerParameters(*(cast_by_autocast(value, device_type, dtype) for value in layer))
            for layer in parameters
        ]
    return sequences._replace(input=x, initial=(h_0, c_0)), layers
