"""What the Triton back ends have in common: whom they refuse, and what surrounds their loops."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from fastlstm.ops import equations, sums
from fastlstm.ops.arguments import Cotangents, ScanArguments, ScanOutputs, working_dtype
from fastlstm.ops.gradients import Forward, Kernels, Saved
from fastlstm.ops.real_steps import PaddedSteps
from fastlstm.ops.triton_launch import contiguous, product, times

_DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def refusal(arguments: ScanArguments) -> str | None:
    """Why no Triton kernel can serve this call, or None."""
    x = arguments.input
    if x.device.type not in ("cuda", "xpu") and not is_interpreted():
        return f"it runs on GPUs, and the input is on {x.device}"
    if x.dtype not in _DTYPES:
        return f"it knows float32, float64, bfloat16 and float16, and the input is {x.dtype}"
    if not _has_triton():
        return "Triton is not installed"
    if 0 in arguments.c_0.shape + arguments.h_0.shape[-1:]:
        return "the layer has no units, or the batch no rows"
    return None


@cache
def _has_triton() -> bool:
    return find_spec("triton") is not None


def is_interpreted() -> bool:
    """Whether Triton's interpreter runs kernels on the CPU, as for tests and in a debugger."""
    return os.environ.get("TRITON_INTERPRET", "0") == "1"


def input_part(arguments: ScanArguments) -> Tensor:
    """``W x + b`` of all time steps, (T, B, GH), in the dtype of the state."""
    a, live = arguments, equations.live_steps(arguments)
    if a.input.dtype == a.state_dtype:
        return equations.input_part(a, live)
    x = a.input if live is None else torch.where(live.unsqueeze(-1), a.input, 0)
    gates_x = times(x.flatten(0, 1), a.weight_ih.t())
    if a.norm_ih is not None:
        gain = a.norm_ih.to(a.state_dtype)
        gates_x = equations.layer_norm(gates_x, gain, None, a.norm_epsilon)
    for bias in (a.bias_ih, a.bias_hh):
        if bias is not None:
            gates_x += bias
    return gates_x.unflatten(0, x.shape[:2])


def prepared(arguments: ScanArguments) -> ScanArguments:
    """What the steps read: each tensor contiguous, and ``W x + b`` in place of the input.

    That is (T, B, GH), in the dtype of the state; nothing else that it was made of is read.
    """
    return contiguous(arguments._replace(input=input_part(arguments)))


def new_outputs(arguments: ScanArguments, kept: torch.dtype, blank: bool = False) -> ScanOutputs:
    """What a scan of prepared arguments writes: the states from h_0 and c_0 on, step for step.

    Args:
        arguments: as `prepared` makes them.
        kept: the dtype in which h is handed on and out.
        blank: whether all but the states is to be zero at first.
    """
    a = arguments
    gates, cells = equations.saved_shapes(a)
    new = a.input.new_zeros if blank else a.input.new_empty
    return ScanOutputs(
        new((len(a.input), *a.h_0.shape), dtype=kept),
        a.h_0.to(kept, copy=True),
        a.c_0.to(a.state_dtype, copy=True),
        new(gates, dtype=kept),
        new(cells, dtype=a.state_dtype),
    )


def first_seen(arguments: ScanArguments) -> Tensor:
    """What R sees of h_0: (B, R)."""
    first = arguments.input.shape[0] - 1 if arguments.reverse else 0
    state = equations.State(arguments.h_0, arguments.c_0)
    seen = equations.at_reset(arguments, first, state).hidden
    return seen if arguments.recurrent_mask is None else seen * arguments.recurrent_mask


def prepared_backward(
    cotangents: Cotangents, arguments: ScanArguments, saved: Saved
) -> tuple[Cotangents, ScanArguments, Saved]:
    """What the steps back read, each tensor contiguous; they do not read the scan's input."""
    return (
        Cotangents(*(None if d is None else d.contiguous() for d in cotangents)),
        contiguous(arguments._replace(input=saved.gates)),
        Saved(*(value.contiguous() for value in saved)),
    )


def state_gradients(
    cotangents: Cotangents, arguments: ScanArguments
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What the steps back write over: the gradients of h and c, and of what a reset sets."""
    wide = arguments.state_dtype
    d_h, d_c = (
        torch.zeros_like(state, dtype=wide) if d is None else d.to(wide, copy=True)
        for d, state in ((cotangents.h_n, arguments.h_0), (cotangents.c_n, arguments.c_0))
    )
    return d_h, d_c, torch.zeros_like(d_h), torch.zeros_like(d_c)


Scan = Callable[[ScanArguments], ScanOutputs]
Loop = Callable[[Cotangents, ScanArguments, Saved, Forward], Any]


def backward_kernels(scan: Scan, loop: Loop, dtype: torch.dtype) -> Kernels:
    """The parts of a backward pass whose tensors had this dtype before they were widened.

    Args:
        scan: of the back end; takes arguments of this dtype, with c_0 in the dtype of the state.
        loop: see ``gradients.Kernels``; it rounds the factors of its products itself.
        dtype: that of the call.
    """
    if dtype == working_dtype(dtype):
        return Kernels(scan, loop, product, sums.column_dots, sums.norm_totals, PaddedSteps)

    def again(widened: ScanArguments) -> ScanOutputs:
        narrow = equations.in_dtype(widened, dtype)._replace(c_0=widened.c_0)
        return ScanOutputs(*(value.to(widened.input.dtype) for value in scan(narrow)))

    def narrowed(
        a: Tensor, b: Tensor, add_to: Tensor | None = None, row_sums: Tensor | None = None
    ) -> Tensor:
        if row_sums is not None:
            torch.sum(a, dim=-1, out=row_sums)
        return product(a.to(dtype), b.to(dtype), add_to)

    return Kernels(again, loop, narrowed, sums.column_dots, sums.norm_totals, PaddedSteps)
