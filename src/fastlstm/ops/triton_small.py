"""The back end "triton-small": all steps of a layer of up to 128 units in one kernel.

A program of `triton_small_kernels.py` has some rows of the batch and walks over all time steps; R
stays on the chip, so nothing of a step waits for another program or for a launch. The large
products before and after the recurrence are torch's.

What fits is R with all its gates, and a projection beside it, each padded to powers of two: on an
H100 128 units in 16 bits and 64 in float32. In 16 bits factors of products have the dtype of the
call, whatever switches are on. In float32 each is split into three bfloat16 numbers on the matrix
units of NVIDIA's GPUs, with six products of these: by emulation no further from float64 than sums
of float32 are. They are rounded to TF32 where torch may do so too (`allows_tf32`).
"""

from __future__ import annotations

from functools import partial

import torch

from fastlstm.ops import backward, triton_calls
from fastlstm.ops.arguments import BackwardCall, ScanArguments, ScanOutputs, check_arguments
from fastlstm.ops.gradients import Gradients
from fastlstm.ops.triton_calls import backward_kernels, is_interpreted, new_outputs, prepared
from fastlstm.ops.triton_launch import on_device_of
from fastlstm.ops.triton_small_backward import loop
from fastlstm.ops.triton_small_launch import (
    device_of,
    factor_size,
    memory_needed,
    shared_arguments,
    tiles_of,
)

MOST_FEATURES = 128
"""Units, and features of a projection."""


def refusal(arguments: ScanArguments) -> str | None:
    """Why the kernels cannot serve this call, or None."""
    a = arguments
    reason = triton_calls.refusal(a)
    if reason is not None:
        return reason
    if a.input.dtype == torch.float64 and not is_interpreted():
        return "it multiplies 16 and 32 bits on the chip, and the input is torch.float64"
    widest = max(a.hidden_size, a.h_0.shape[-1])
    if widest > MOST_FEATURES:
        return f"it keeps up to {MOST_FEATURES} units on the chip, and there are {widest:,}"
    matrices = a.gate_count + (a.weight_hr is not None)
    features = a.h_0.shape[-1]
    device = device_of(a.input.device)
    size = factor_size(a.input.dtype, device)
    needed, given = memory_needed(device, matrices, a.hidden_size, features, size), device.memory
    if needed > given:
        return f"its weights need {needed:,} bytes on the chip, and there are {given:,}"
    return None


def scan(arguments: ScanArguments) -> ScanOutputs:
    """Run one layer in one direction over all time steps."""
    check_arguments(arguments)
    return _scan(arguments)


def scan_backward(call: BackwardCall) -> Gradients:
    """The gradients that are needed."""
    arguments, dtype = call.arguments, call.arguments.input.dtype
    widens = arguments.save_every != 1 or arguments.has_switches
    kernels = backward_kernels(_scan, partial(loop, factors=dtype), dtype)
    return backward.scan_backward(call, kernels, widens)


def _scan(arguments: ScanArguments) -> ScanOutputs:
    from fastlstm.ops import triton_small_kernels  # Triton takes a second to import

    kept = arguments.input.dtype
    with on_device_of(arguments.input):
        a = prepared(arguments)
        # What is past the longest of a program's rows is never written.
        found = new_outputs(a, kept, blank=a.lengths is not None)
        tiles_of(a).run(
            triton_small_kernels.forward,
            gates_x=a.input,
            h=found.h_n,
            c=found.c_n,
            output=found.output,
            gates=found.gates if a.save_every == 1 else None,
            cells=found.cells if a.save_every == 1 else None,
            chunks=found.cells if a.save_every > 1 else None,
            reset_h=a.reset_h,
            SAVE_EVERY=a.save_every,
            **shared_arguments(a, kept),
        )
        return found._replace(c_n=found.c_n.to(kept))
