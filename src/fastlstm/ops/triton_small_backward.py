"""The backward recurrence of the back end "triton-small": all steps in one kernel."""

from __future__ import annotations

import torch
from torch import Tensor

from fastlstm.ops.arguments import Cotangents, ScanArguments
from fastlstm.ops.gradients import Contributions, Forward, Saved
from fastlstm.ops.triton_calls import prepared_backward, state_gradients
from fastlstm.ops.triton_launch import on_device_of
from fastlstm.ops.triton_small_launch import shared_arguments, tiles_of


def loop(
    cotangents: Cotangents,
    arguments: ScanArguments,
    saved: Saved,
    forward: Forward,
    factors: torch.dtype,
) -> tuple[Contributions, tuple[Tensor, ...]]:
    """As ``gradients.loop``; what it is given and what it gives has its padding (`PaddedSteps`).

    ``factors`` is the dtype in which R and the gradients that go through it are multiplied.
    """
    from fastlstm.ops import triton_small_kernels_backward  # Triton takes a second to import

    with on_device_of(arguments.input):
        given, a, saved = prepared_backward(cotangents, arguments, saved)
        d_h, d_c, d_reset_h, d_reset_c = state_gradients(given, a)
        steps, wide = len(a.input), a.state_dtype
        # What is past the longest of a program's rows is never written.
        new = torch.empty if a.lengths is None else torch.zeros
        d_z = new(saved.gates.shape, dtype=saved.gates.dtype, device=saved.gates.device)
        d_recurrent, d_seen, d_new_h, recurrent = d_z, None, None, None
        if a.norm_hh is not None:
            d_recurrent = new(d_z.shape, dtype=d_z.dtype, device=d_z.device)
            d_seen = new((steps, *a.c_0.shape), dtype=wide, device=d_z.device)
            recurrent = forward.recurrent
        if a.weight_hr is not None:
            d_new_h = new((steps, *a.h_0.shape), dtype=wide, device=d_z.device)
        tiles_of(a).run(
            triton_small_kernels_backward.backward,
            d_h=d_h,
            d_c=d_c,
            d_reset_h=d_reset_h,
            d_reset_c=d_reset_c,
            d_output=given.output,
            d_gates=given.gates,
            d_cells=given.cells,
            d_z=d_z,
            d_recurrent=d_recurrent,
            d_seen=d_seen,
            d_new_h=d_new_h,
            gates=saved.gates,
            cells=saved.cells,
            c_0=a.c_0,
            recurrent=recurrent,
            **shared_arguments(a, factors),
        )
    d_seen, d_new_h = (None if d is None else d.flatten(0, 1) for d in (d_seen, d_new_h))
    contributions = Contributions(d_z.flatten(0, 1), d_recurrent.flatten(0, 1), d_seen, d_new_h)
    return contributions, (d_h, d_c, d_reset_h, d_reset_c)
