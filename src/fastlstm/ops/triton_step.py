"""The back end "triton-step": a product and one kernel a step, for any size and any GPU.

The large products before and after the recurrence, and that by R in each step, are torch's; what
stands between them is one kernel of `triton_step_kernels.py`, or two with a projection. The floor
is that of the launches, two a step, and the reading of R from memory. On CUDA devices the steps go
by pieces that are recorded as CUDA graphs, since a launch takes Python many times that.

A ragged batch keeps its padding: finding the real steps would need the lengths on the host, and
nothing here waits for the device.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from fastlstm.ops import backward, cuda_graphs, triton_calls
from fastlstm.ops.arguments import (
    BackwardCall,
    Cotangents,
    ScanArguments,
    ScanOutputs,
    check_arguments,
)
from fastlstm.ops.gradients import Contributions, Forward, Gradients, Saved
from fastlstm.ops.triton_calls import backward_kernels, prepared, prepared_backward
from fastlstm.ops.triton_launch import MOST_UNITS, on_device_of
from fastlstm.ops.triton_step_backward import loop_steps
from fastlstm.ops.triton_step_forward import scan_steps
from fastlstm.ops.triton_step_pieces import loop_pieces, scan_pieces


def refusal(arguments: ScanArguments) -> str | None:
    """Why the kernels cannot serve this call, or None."""
    reason = triton_calls.refusal(arguments)
    if reason is not None:
        return reason
    if arguments.norm_hh is not None and arguments.hidden_size > MOST_UNITS:
        return f"it normalises up to {MOST_UNITS:,} units, and there are {arguments.hidden_size:,}"
    return None


def scan(arguments: ScanArguments) -> ScanOutputs:
    """Run one layer in one direction over all time steps."""
    check_arguments(arguments)
    return _scan(arguments)


def _scan(arguments: ScanArguments) -> ScanOutputs:
    with on_device_of(arguments.input):
        kept = arguments.input.dtype
        a = prepared(arguments)
        by_pieces = cuda_graphs.are_worthwhile(a.input, len(a.input))
        found = scan_pieces(a, kept) if by_pieces else scan_steps(a, kept)
        return found._replace(c_n=found.c_n.to(kept))


def scan_backward(call: BackwardCall) -> Gradients:
    """The gradients that are needed."""
    arguments, dtype = call.arguments, call.arguments.input.dtype
    widens = arguments.save_every != 1 or arguments.has_switches
    return backward.scan_backward(
        call, backward_kernels(_scan, partial(_loop, dtype), dtype), widens
    )


def _loop(
    dtype: torch.dtype,
    cotangents: Cotangents,
    arguments: ScanArguments,
    saved: Saved,
    forward: Forward,
) -> tuple[Contributions, tuple[Tensor, ...]]:
    """As ``gradients.loop``, with products of this dtype.

    What it is given and what it gives has its padding (`PaddedSteps`).
    """
    with on_device_of(arguments.input):
        cotangents, a, saved = prepared_backward(cotangents, arguments, saved)
        recurrent = None
        if arguments.norm_hh is not None:
            recurrent = forward.recurrent.view_as(saved.gates).contiguous()
        a = a._replace(weight_hh=a.weight_hh.to(dtype))
        if a.weight_hr is not None:
            a = a._replace(weight_hr=a.weight_hr.to(dtype))
        by_pieces = cuda_graphs.are_worthwhile(saved.gates, len(saved.gates))
        found = (loop_pieces if by_pieces else loop_steps)(cotangents, a, saved, recurrent)
    d_z, *others = (None if d is None else d.flatten(0, 1) for d in found[:4])
    assert d_z is not None
    d_recurrent, d_seen, d_new_h = others
    contributions = Contributions(d_z, d_z if d_recurrent is None else d_recurrent, d_seen, d_new_h)
    return contributions, found[4:]
