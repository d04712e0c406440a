"""What the user gave, checked, as time-first sequences; and the results in the user's layout.

Exceptions have the type that ``torch.nn.LSTM`` raises for the same mistake.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch._C._functorch import is_batchedtensor
from torch.nn.utils.rnn import PackedSequence

from fastlstm.nn.parameters import LayerShapes
from fastlstm.nn.stack import Sequences, States


class Layout(NamedTuple):
    """How the user's tensors lie."""

    batched: bool
    batch_first: bool

    def to_time_first(self, value: Tensor) -> Tensor:
        """(T, B, …) from the user's (T, B, …), (B, T, …) or (T, …)."""
        if not self.batched:
            return value.unsqueeze(1)
        return value.transpose(0, 1) if self.batch_first else value

    def from_time_first(self, value: Tensor) -> Tensor:
        """The user's layout from (T, B, …)."""
        if not self.batched:
            return value.squeeze(1)
        return value.transpose(0, 1) if self.batch_first else value

    def from_states(self, states: States) -> States:
        """States (layers · directions, B, ·) without the batch where the input had none."""
        return states if self.batched else (states[0].squeeze(1), states[1].squeeze(1))


def prepare(
    input: Tensor,
    hx: States | None,
    shapes: LayerShapes,
    dtype: torch.dtype,
    batch_first: bool,
    lengths: Tensor | None,
    reset: Tensor | None,
    reset_state: States | None,
) -> tuple[Sequences, Layout]:
    """Check everything that a layer is called with, and lay it out time first."""
    if not isinstance(input, Tensor):
        raise TypeError(
            f"LSTM: Expected input to be a Tensor or a PackedSequence, got {type(input).__name__}"
        )
    if input.dim() not in (2, 3):
        raise ValueError(
            f"LSTM: Expected input to be 2D or 3D, got {input.dim()}D instead, "
            f"of shape {list(input.shape)}"
        )
    # As in nn.LSTM, `batch_first` says nothing about an input without a batch.
    layout = Layout(batched=input.dim() == 3, batch_first=batch_first and input.dim() == 3)
    check_input(input, shapes.input_size, dtype)
    x = layout.to_time_first(input)
    if x.shape[0] == 0:
        raise RuntimeError(
            f"Expected sequence length to be larger than 0 in RNN, got input {list(input.shape)}"
        )
    return (
        Sequences(
            x,
            initial_states(hx, x, shapes, layout.batched),
            check_lengths(lengths, x, layout.batched),
            check_reset(reset, x, layout),
            check_reset_state(reset_state, reset, x, shapes, layout.batched),
        ),
        layout,
    )


def check_input(input: Tensor, input_size: int, dtype: torch.dtype) -> None:
    """Check the features and the dtype of an input."""
    if input.dtype != dtype and not torch.is_autocast_enabled(input.device.type):
        raise ValueError(
            f"RNN input dtype ({input.dtype}) does not match weight dtype ({dtype}). "
            f"Convert input: input.to({dtype}), or convert model: model.to({input.dtype})"
        )
    if input.shape[-1] != input_size:
        raise RuntimeError(
            "input.size(-1) must be equal to input_size. "
            f"Expected {input_size}, got {input.shape[-1]}"
        )


def initial_states(hx: States | None, x: Tensor, shapes: LayerShapes, batched: bool) -> States:
    """The initial states (layers · directions, B, ·): the given ones, or zeros."""
    if hx is None:
        return zero_states(x, shapes)
    return check_states(hx, "hidden", x, shapes, batched)


def zero_states(x: Tensor, shapes: LayerShapes) -> States:
    """States of zeros for the rows of a time-first ``x``."""
    count, rows = shapes.layers * shapes.directions, x.shape[1]
    h = x.new_zeros(count, rows, shapes.recurrent_size)
    if shapes.recurrent_size == shapes.hidden_size:
        return h, h
    return h, x.new_zeros(count, rows, shapes.hidden_size)


def check_states(
    states: States,
    name: str,
    x: Tensor,
    shapes: LayerShapes,
    batched: bool,
    broadcast: bool = False,
) -> States:
    """Two states as (layers · directions, B, ·), from the user's with or without a batch.

    With ``broadcast`` one row serves all rows of the batch.
    """
    if not isinstance(states, (tuple, list)) or len(states) != 2:
        raise TypeError(f"{name} must be a pair of tensors (h, c), got {_describe(states)}")
    for value in states:
        if not isinstance(value, Tensor):
            raise TypeError(f"{name} must be a pair of tensors (h, c), got {_describe(states)}")
    h, c = states
    expected = 3 if batched else 2
    if h.dim() != expected or c.dim() != expected:
        kind = "batched 3-D" if batched else "unbatched 2-D"
        raise RuntimeError(
            f"For {kind} input, hx and cx should also be {expected}-D but got "
            f"({h.dim()}-D, {c.dim()}-D) tensors in {name}"
        )
    if not batched:
        h, c = h.unsqueeze(1), c.unsqueeze(1)
    count = shapes.layers * shapes.directions
    result = []
    for index, (value, width) in enumerate(((h, shapes.recurrent_size), (c, shapes.hidden_size))):
        wanted = (count, x.shape[1], width)
        if broadcast and tuple(value.shape) == (count, 1, width):
            value = value.expand(wanted)
        if tuple(value.shape) != wanted:
            raise RuntimeError(f"Expected {name}[{index}] size {wanted}, got {list(value.shape)}")
        _check_state_matches(f"{name}[{index}]", value, x)
        result.append(value)
    return result[0], result[1]


def _check_state_matches(name: str, value: Tensor, x: Tensor) -> None:
    if value.device != x.device:
        raise RuntimeError(
            "Input and hidden tensors are not at the same device, found input tensor at "
            f"{x.device} and {name} at {value.device}"
        )
    if value.dtype != x.dtype and not torch.is_autocast_enabled(x.device.type):
        raise RuntimeError(
            f"Input and hidden tensors must have the same dtype, found input of {x.dtype} and "
            f"{name} of {value.dtype}"
        )


def check_lengths(lengths: Tensor | None, x: Tensor, batched: bool) -> Tensor | None:
    """The lengths (B) on the input's device.

    On the CPU their values are checked. On an accelerator that would stop the host until the
    device has caught up; there a CUDA device checks them itself, and a wrong one is a device-side
    assertion.
    """
    if lengths is None:
        return None
    steps, rows = x.shape[:2]
    if not isinstance(lengths, Tensor):
        raise TypeError(f"lengths must be an integer Tensor, got {type(lengths).__name__}")
    if not batched:
        raise ValueError("lengths are for batched 3-D input, got unbatched 2-D input")
    if lengths.is_floating_point() or lengths.is_complex() or lengths.dtype == torch.bool:
        raise TypeError(f"lengths must be of an integer dtype, got {lengths.dtype}")
    if tuple(lengths.shape) != (rows,):
        raise ValueError(
            f"lengths must have one value for each of the {rows} rows, got shape "
            f"{list(lengths.shape)}"
        )
    if lengths.device != x.device and lengths.device.type != "cpu":
        raise ValueError(
            f"lengths must be on the CPU or on the input's device {x.device}, got {lengths.device}"
        )
    if lengths.device != x.device and _is_being_recorded(x):
        raise ValueError(
            "lengths must be on the input's device while a CUDA graph is recorded, since a graph "
            "reads the CPU's memory only when it is replayed; nor can a PackedSequence be recorded "
            f"but by cudnn, got lengths on {lengths.device}"
        )
    lengths = lengths.to(torch.int64)
    _check_values(lengths, steps)
    return lengths.to(x.device, non_blocking=True)


def _is_being_recorded(x: Tensor) -> bool:
    """Whether the user has a CUDA graph record what is done with this."""
    if torch.compiler.is_compiling() or not (x.is_cuda and has_readable_values(x)):
        return False
    return torch.cuda.is_current_stream_capturing()


def _check_values(lengths: Tensor, steps: int) -> None:
    if torch.compiler.is_compiling() or not has_readable_values(lengths):
        return
    if lengths.device.type == "cpu":
        wrong = (lengths < 0) | (lengths > steps)
        if bool(wrong.any()):
            row = int(wrong.nonzero()[0])
            raise ValueError(
                f"lengths must be between 0 and the number of time steps {steps}, "
                f"got {int(lengths[row])} for row {row}"
            )
    elif lengths.device.type == "cuda":
        inside = ((lengths >= 0) & (lengths <= steps)).all()
        torch.ops.aten._assert_async.msg(inside, f"lengths must be between 0 and {steps}")


def has_readable_values(value: Tensor) -> bool:
    """Whether there are numbers to read: not under ``vmap``, nor in a fake or meta tensor."""
    if is_batchedtensor(value):
        return False
    return type(value) in (Tensor, torch.nn.Parameter) and value.device.type != "meta"


def check_reset(reset: Tensor | None, x: Tensor, layout: Layout) -> Tensor | None:
    """The reset mask (T, B) from the user's layout."""
    if reset is None:
        return None
    if not isinstance(reset, Tensor):
        raise TypeError(f"reset must be a bool Tensor, got {type(reset).__name__}")
    if reset.dtype != torch.bool:
        raise TypeError(f"reset must be of dtype torch.bool, got {reset.dtype}")
    steps, rows = x.shape[:2]
    wanted = (steps, rows) if layout.batched else (steps,)
    if layout.batch_first:
        wanted = (rows, steps)
    if tuple(reset.shape) != wanted:
        raise ValueError(
            f"reset must have the input's time and batch dimensions {list(wanted)}, "
            f"got shape {list(reset.shape)}"
        )
    if reset.device != x.device:
        raise ValueError(f"reset must be on the input's device {x.device}, got {reset.device}")
    return layout.to_time_first(reset)


def check_reset_state(
    reset_state: States | None,
    reset: Tensor | None,
    x: Tensor,
    shapes: LayerShapes,
    batched: bool,
) -> States | None:
    """The states that a reset sets, with one row for each of the batch."""
    if reset_state is None:
        return None
    if reset is None:
        raise ValueError("reset_state is what reset= sets the state to; it was given without reset")
    return check_states(reset_state, "reset_state", x, shapes, batched, broadcast=True)


def check_packed(packed: PackedSequence, lengths: Tensor | None) -> None:
    """Check what only a packed input can have wrong; it knows its lengths."""
    if lengths is not None:
        raise ValueError("lengths are for padded input; a PackedSequence brings its own")
    if packed.data.dim() != 2:
        raise RuntimeError(
            "the data of a PackedSequence must have 2 dimensions, (steps, features), "
            f"got shape {list(packed.data.shape)}"
        )


def check_step(x_t: Tensor, state: States | None) -> None:
    """Check the dimensions of what one step is called with."""
    if not isinstance(x_t, Tensor) or x_t.dim() not in (1, 2):
        given = f"{x_t.dim()}-D" if isinstance(x_t, Tensor) else type(x_t).__name__
        raise ValueError(f"step: x_t must be a 1-D or 2-D Tensor, (I) or (B, I), got {given}")
    if isinstance(state, (tuple, list)):
        dimensions = [value.dim() for value in state if isinstance(value, Tensor)]
        if any(dimension != x_t.dim() + 1 for dimension in dimensions):
            shape = "(layers, B, ·)" if x_t.dim() == 2 else "(layers, ·)"
            raise RuntimeError(
                f"step: for a {x_t.dim()}-D x_t the tensors of state must be {x_t.dim() + 1}-D, "
                f"{shape}, got {dimensions} dimensions"
            )


def refuse_packed(input: object, method: str) -> None:
    """Say what to give instead of a ``PackedSequence``."""
    if isinstance(input, PackedSequence):
        raise TypeError(f"{method} takes padded input and lengths=, got a PackedSequence")


def _describe(value: object) -> str:
    if isinstance(value, (tuple, list)):
        return f"{type(value).__name__} of {len(value)}: {[type(v).__name__ for v in value]}"
    return type(value).__name__


def prepare_cell(
    input: Tensor, hx: States | None, shapes: LayerShapes, dtype: torch.dtype
) -> tuple[Sequences, bool]:
    """Check what a cell is called with; as sequences of one step, and whether there was a batch."""
    if not isinstance(input, Tensor):
        raise TypeError(f"LSTMCell: Expected input to be a Tensor, got {type(input).__name__}")
    if input.dim() not in (1, 2):
        raise ValueError(
            f"LSTMCell: Expected input to be 1D or 2D, got {input.dim()}D instead, "
            f"of shape {list(input.shape)}"
        )
    batched = input.dim() == 2
    if input.shape[-1] != shapes.input_size:
        raise RuntimeError(
            f"input has inconsistent input_size: got {input.shape[-1]} expected {shapes.input_size}"
        )
    x = (input if batched else input.unsqueeze(0)).unsqueeze(0)
    states = zero_states(x, shapes)
    if hx is not None:
        _check_cell_states(hx, x, shapes, batched)
        h, c = hx
        states = (h, c) if batched else (h.unsqueeze(0), c.unsqueeze(0))
        states = states[0].unsqueeze(0), states[1].unsqueeze(0)
    check_input(input, shapes.input_size, dtype)
    return Sequences(x, states), batched


def _check_cell_states(hx: States, x: Tensor, shapes: LayerShapes, batched: bool) -> None:
    if not isinstance(hx, (tuple, list)) or len(hx) != 2:
        raise TypeError(f"LSTMCell: hx must be a pair of tensors (h, c), got {_describe(hx)}")
    for index, (value, width) in enumerate(
        zip(hx, (shapes.recurrent_size, shapes.hidden_size), strict=True)
    ):
        if not isinstance(value, Tensor):
            raise TypeError(f"LSTMCell: hx must be a pair of tensors (h, c), got {_describe(hx)}")
        if value.dim() not in (1, 2):
            raise ValueError(
                f"LSTMCell: Expected hx[{index}] to be 1D or 2D, got {value.dim()}D instead"
            )
        if value.dim() != (2 if batched else 1):
            kind = "2-D (batched)" if batched else "1-D (unbatched)"
            raise RuntimeError(
                f"LSTMCell: the input is {kind}, so hx[{index}] must be too, got {value.dim()}-D"
            )
        if value.shape[-1] != width:
            raise RuntimeError(
                f"hidden{index} has inconsistent hidden_size: got {value.shape[-1]}, "
                f"expected {width}"
            )
        if batched and value.shape[0] != x.shape[1]:
            raise RuntimeError(
                f"Input batch size {x.shape[1]} doesn't match hidden{index} batch size "
                f"{value.shape[0]}"
            )
        _check_state_matches(f"hx[{index}]", value, x)
