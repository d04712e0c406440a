"""What the scan operator takes: one layer, in one direction, over all time steps.

Everything that touches the operator (its schema, its fake kernel, its rules for autograd and
vmap, each back end) is driven by the one definition below, so that they cannot disagree.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, get_type_hints

import torch
from torch import Tensor
from torch.nn import Parameter


class ScanArguments(NamedTuple):
    """The arguments of ``fastlstm::scan``, in the order of its schema.

    ``T`` time steps, ``B`` rows, ``I`` input features, ``H`` hidden units (the width of the cell
    state), ``R`` recurrent features (``proj_size`` where there is a projection, else ``H``), and
    ``G`` gates: 4 (i, f, g, o), or 3 (f, g, o) where the gates are coupled. ``GH`` is ``G·H``.
    """

    # Differentiable, one gradient each. Those of a row first, then those shared by all rows.
    input: Tensor  # (T, B, I)
    h_0: Tensor  # (B, R)
    c_0: Tensor  # (B, H)
    reset_h: Tensor | None  # (B, R): the state that a reset sets; zeros if None
    reset_c: Tensor | None  # (B, H)
    weight_ih: Tensor  # (GH, I)
    weight_hh: Tensor  # (GH, R)
    bias_ih: Tensor | None  # (GH)
    bias_hh: Tensor | None  # (GH)
    weight_hr: Tensor | None  # (R, H)
    weight_peephole: (
        Tensor | None
    )  # (3, H): p_i, p_f, p_o; (2, H): p_f, p_o where the gates are coupled
    norm_ih: Tensor | None  # (GH): the gain of LN(W x); layer norm is on where this is given
    norm_hh: Tensor | None  # (GH): the gain of LN(R h)
    norm_cell: Tensor | None  # (H): the gain of LN(c')
    norm_cell_bias: Tensor | None  # (H)

    # Tensors without a gradient.
    lengths: Tensor | None = None  # (B) integers: how many steps of each row are real
    reset: Tensor | None = None  # (T, B) bool: the state is set just before this step
    recurrent_mask: Tensor | None = None  # (B, R): multiplies h before R does
    zoneout_cell_mask: Tensor | None = None  # (T, B, H) bool: this unit of c keeps its value
    zoneout_hidden_mask: Tensor | None = None  # (T, B, R) bool

    # Numbers.
    zoneout_cell: float = 0.0  # the share of the old c that is kept, where there is no mask
    zoneout_hidden: float = 0.0
    cell_clip: float = 0.0  # 0: no clipping
    norm_epsilon: float = 1e-5
    coupled_gates: bool = False
    reverse: bool = False  # from the last step to the first
    save_every: int = 0  # keep the state before every k-th step, for the backward pass;
    #                      1: keep every gate and state; 0: keep nothing
    backend: str = ""  # the name of a forced back end

    @property
    def gate_count(self) -> int:
        """G: 4, or 3 where the input gate is coupled to the forget gate."""
        return gate_count(self.coupled_gates)

    @property
    def hidden_size(self) -> int:
        """H, the width of the cell state."""
        return self.c_0.shape[-1]

    @property
    def has_switches(self) -> bool:
        """Whether a step calculates more than the equations of 1997 and 2000."""
        given = (
            self.weight_hr,
            self.weight_peephole,
            self.norm_hh,
            self.recurrent_mask,
            self.zoneout_cell_mask,
            self.zoneout_hidden_mask,
        )
        return any(value is not None for value in given) or bool(
            self.zoneout_cell or self.zoneout_hidden or self.cell_clip or self.coupled_gates
        )

    @property
    def state_dtype(self) -> torch.dtype:
        """The dtype of the cell state and of every sum: float32 for 16-bit inputs."""
        return working_dtype(self.input.dtype)


class ScanOutputs(NamedTuple):
    """What ``fastlstm::scan`` returns.

    ``gates`` and ``cells`` are there for the backward pass and for a trace, and both are
    differentiable. With ``save_every=0`` they have no elements; with ``save_every=k > 1`` there
    are no gates, and ``cells[j]`` is the cell state from which the steps ``[j·k, (j+1)·k)``
    start.
    """

    output: Tensor  # (T, B, R): every hidden state; zero past a row's end
    h_n: Tensor  # (B, R)
    c_n: Tensor  # (B, H)
    gates: Tensor  # (T, B, GH): after their non-linearity; zero past a row's end
    cells: Tensor  # (T, B, H), in the state's dtype


class Cotangents(NamedTuple):
    """The gradients of the loss with respect to each output of the scan; None for zero."""

    output: Tensor | None  # (T, B, R)
    h_n: Tensor | None  # (B, R)
    c_n: Tensor | None  # (B, H)
    gates: Tensor | None  # (T, B, GH)
    cells: Tensor | None  # (T, B, H)


class BackwardCall(NamedTuple):
    """The arguments of ``fastlstm::scan_backward``; its schema has them flat, in this order."""

    cotangents: Cotangents
    arguments: ScanArguments
    output: Tensor  # what the scan returned
    gates: Tensor
    cells: Tensor
    needs: list[bool]  # for each differentiable argument, whether its gradient is asked for
    groups: int  # see `backward.scan_backward`

    @classmethod
    def from_flat(cls, flat: Sequence[Any]) -> "BackwardCall":
        """From the arguments in the order of the schema."""
        first = len(Cotangents._fields)
        last = first + len(ScanArguments._fields)
        return cls(Cotangents(*flat[:first]), ScanArguments(*flat[first:last]), *flat[last:])

    def to_flat(self) -> tuple[Any, ...]:
        """The arguments in the order of the schema."""
        return (*self.cotangents, *self.arguments, *self[2:])


DIFFERENTIABLE = ScanArguments._fields[: ScanArguments._fields.index("lengths")]
"""The fields that have a gradient: always the first ones."""

PARAMETERS = DIFFERENTIABLE[DIFFERENTIABLE.index("weight_ih") :]
"""The differentiable fields that all rows of a batch share."""

BATCH_DIMENSION = {
    "input": 1,
    "h_0": 0,
    "c_0": 0,
    "reset_h": 0,
    "reset_c": 0,
    "lengths": 0,
    "reset": 1,
    "recurrent_mask": 0,
    "zoneout_cell_mask": 1,
    "zoneout_hidden_mask": 1,
}
"""Where the rows of the batch are, in each field that has them."""

OUTPUT_BATCH_DIMENSION = {"output": 1, "h_n": 0, "c_n": 0, "gates": 1, "cells": 1}
"""Where the rows of the batch are, in each output of the scan."""

TENSORS = DIFFERENTIABLE + tuple(name for name in BATCH_DIMENSION if name not in DIFFERENTIABLE)
"""The fields that are tensors, where they are given."""

BACKWARD_FIELDS = (
    *(f"d_{name}" for name in Cotangents._fields),
    *ScanArguments._fields,
    *BackwardCall._fields[2:],
)
"""The arguments of ``fastlstm::scan_backward`` as its schema has them."""

_SCHEMA_TYPES = {
    Tensor: "Tensor",
    Tensor | None: "Tensor?",
    float: "float",
    int: "int",
    bool: "bool",
    str: "str",
}


def schema_of_arguments() -> str:
    """``Tensor input, Tensor h_0, …``: the arguments as an operator's schema writes them."""
    hints = get_type_hints(ScanArguments)
    return ", ".join(f"{_SCHEMA_TYPES[hints[name]]} {name}" for name in ScanArguments._fields)


def gate_count(coupled_gates: bool) -> int:
    """4 gates (i, f, g, o), or 3 (f, g, o) where the input gate is coupled to the forget gate."""
    return 3 if coupled_gates else 4


def working_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype to calculate in: float32 for 16-bit floats, the dtype itself for all others."""
    return torch.float32 if dtype in (torch.bfloat16, torch.float16) else dtype


def any_requires_grad(values: Iterable[Any]) -> bool:
    """Whether one of the values is a tensor that requires a gradient.

    A subclass of tensor counts as one that does: not every one can be asked (``ExpandedWeight``).
    """
    return any(
        isinstance(value, Tensor)
        and (value.requires_grad if type(value) in (Tensor, Parameter) else True)
        for value in values
    )


def chunk_count(steps: int, save_every: int) -> int:
    """How many stretches of ``save_every`` steps there are; the last one may be shorter."""
    return (steps + save_every - 1) // save_every


def expected_shapes(arguments: ScanArguments) -> dict[str, tuple[int, ...]]:
    """The shape that each tensor must have, from those of ``input``, ``h_0`` and ``c_0``."""
    steps, rows, features = arguments.input.shape
    recurrent, hidden = arguments.h_0.shape[-1], arguments.c_0.shape[-1]
    return {
        "input": (steps, rows, features),
        "h_0": (rows, recurrent),
        "c_0": (rows, hidden),
        "reset_h": (rows, recurrent),
        "reset_c": (rows, hidden),
        **parameter_shapes(arguments.gate_count, hidden, recurrent, features),
        "lengths": (rows,),
        "reset": (steps, rows),
        "recurrent_mask": (rows, recurrent),
        "zoneout_cell_mask": (steps, rows, hidden),
        "zoneout_hidden_mask": (steps, rows, recurrent),
    }


def parameter_shapes(
    gate_count: int, hidden: int, recurrent: int, features: int
) -> dict[str, tuple[int, ...]]:
    """The shape of each parameter of a layer with these sizes."""
    gates = gate_count * hidden
    return {
        "weight_ih": (gates, features),
        "weight_hh": (gates, recurrent),
        "bias_ih": (gates,),
        "bias_hh": (gates,),
        "weight_hr": (recurrent, hidden),
        "weight_peephole": (gate_count - 1, hidden),
        "norm_ih": (gates,),
        "norm_hh": (gates,),
        "norm_cell": (hidden,),
        "norm_cell_bias": (hidden,),
    }


def check_arguments(arguments: ScanArguments) -> None:
    """Raise a ``ValueError`` or ``TypeError`` that names the first argument that does not fit."""
    for name, dimensions in (("input", 3), ("h_0", 2), ("c_0", 2)):
        tensor = getattr(arguments, name)
        if tensor.dim() != dimensions:
            raise ValueError(
                f"scan: {name} must have {dimensions} dimensions, got shape {list(tensor.shape)}"
            )
    if arguments.input.shape[0] == 0:
        raise ValueError("scan: input must have at least one time step, got 0")
    if arguments.weight_hr is None and arguments.h_0.shape[-1] != arguments.c_0.shape[-1]:
        raise ValueError(
            "scan: without a projection (weight_hr) h_0 and c_0 must have the same width, got "
            f"{arguments.h_0.shape[-1]} and {arguments.c_0.shape[-1]}"
        )
    for name, shape in expected_shapes(arguments).items():
        tensor = getattr(arguments, name)
        if tensor is None:
            continue
        if tuple(tensor.shape) != shape:
            raise ValueError(
                f"scan: {name} must have shape {list(shape)}, got {list(tensor.shape)}"
            )
        _check_dtype(name, tensor, arguments.input.dtype)
        if tensor.device != arguments.input.device:
            raise ValueError(
                f"scan: {name} must be on the input's device {arguments.input.device}, "
                f"got {tensor.device}"
            )
    _check_pairs(arguments)
    if arguments.save_every < 0:
        raise ValueError(f"scan: save_every must not be negative, got {arguments.save_every}")


def _check_dtype(name: str, tensor: Tensor, dtype: torch.dtype) -> None:
    if name == "lengths":
        if tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool:
            raise TypeError(f"scan: lengths must be of an integer dtype, got {tensor.dtype}")
    elif name in ("reset", "zoneout_cell_mask", "zoneout_hidden_mask"):
        if tensor.dtype != torch.bool:
            raise TypeError(f"scan: {name} must be of dtype torch.bool, got {tensor.dtype}")
    elif not tensor.is_floating_point():
        raise TypeError(f"scan: {name} must be of a floating-point dtype, got {tensor.dtype}")
    elif tensor.dtype != dtype:
        raise TypeError(f"scan: {name} must be of the input's dtype {dtype}, got {tensor.dtype}")


def _check_pairs(arguments: ScanArguments) -> None:
    for names in (("reset_h", "reset_c"), ("norm_ih", "norm_hh", "norm_cell")):
        given = [name for name in names if getattr(arguments, name) is not None]
        if given and len(given) != len(names):
            raise ValueError(
                f"scan: {', '.join(names)} are given together or not at all, "
                f"got only {', '.join(given)}"
            )
