"""The backward recurrence of the back end "triton-step": one kernel and a product a step."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from fastlstm.ops.arguments import Cotangents, ScanArguments
from fastlstm.ops.gradients import Saved
from fastlstm.ops.triton_calls import state_gradients
from fastlstm.ops.triton_launch import Launch, constants, times


class LoopOutputs(NamedTuple):
    """What the steps contribute to the gradients, and the gradients of the states."""

    d_z: Tensor  # (T, B, GH)
    d_recurrent: Tensor | None  # (T, B, GH); None where it is d_z, without layer norm
    d_seen: Tensor | None  # (T, B, H); None without layer norm
    d_new_h: Tensor | None  # (T, B, R); None without a projection
    d_h_0: Tensor
    d_c_0: Tensor
    d_reset_h: Tensor
    d_reset_c: Tensor


def loop_steps(
    cotangents: Cotangents, arguments: ScanArguments, saved: Saved, recurrent: Tensor | None
) -> LoopOutputs:
    """Run all steps, the last of the scan first.

    Args:
        cotangents: those of the scan's outputs; of the states in the dtype of the state.
        arguments: those of the scan; neither its input nor what is multiplied by that is read.
        saved: what the scan returned with ``save_every=1``; the output is not read.
        recurrent: R h of all steps (T, B, GH), with layer norm.

    All tensors are contiguous.
    """
    return _Loop(cotangents, arguments, saved, recurrent).run()


class _Loop:
    """A backward pass under way; the arguments are those of `loop_steps`."""

    def __init__(
        self,
        cotangents: Cotangents,
        arguments: ScanArguments,
        saved: Saved,
        recurrent: Tensor | None,
    ) -> None:
        from fastlstm.ops import triton_step_kernels  # Triton takes a second to import

        self._kernels = triton_step_kernels
        a = self._arguments = arguments
        self._constants = constants(a)
        self._cotangents, self._saved, self._recurrent = cotangents, saved, recurrent
        steps, rows, _ = saved.gates.shape
        normed, wide = a.norm_hh is not None, a.state_dtype
        of_states = state_gradients(cotangents, a)
        self._d_h, self._d_c, self._d_reset_h, self._d_reset_c = of_states
        self._d_z = torch.empty_like(saved.gates)
        self._d_recurrent = torch.empty_like(self._d_z) if normed else self._d_z
        self._d_seen = a.c_0.new_empty(steps, *a.c_0.shape, dtype=wide) if normed else None
        self._d_new_h = None
        if a.weight_hr is not None:
            self._d_new_h = a.h_0.new_empty(steps, *a.h_0.shape)
        self._launch = Launch.over(rows, a.hidden_size, normed)
        self._projects = Launch.over(rows, a.h_0.shape[1])

    def run(self) -> LoopOutputs:
        """All steps."""
        a = self._arguments
        steps = range(len(self._d_z))
        through_r = torch.zeros_like(self._d_h)
        later = 0 if a.reverse else len(steps) - 1
        for t in steps if a.reverse else reversed(steps):
            self._step(t, later, through_r)
            through_r = times(self._d_recurrent[t].to(a.weight_hh.dtype), a.weight_hh)
            later = t
        d_h_0 = self._arrive_at_start(through_r, later)
        return LoopOutputs(
            self._d_z,
            None if a.norm_hh is None else self._d_recurrent,
            self._d_seen,
            self._d_new_h,
            d_h_0,
            self._d_c,
            self._d_reset_h,
            self._d_reset_c,
        )

    def _step(self, t: int, later: int, through_r: Tensor) -> None:
        a, d = self._arguments, self._cotangents
        of_hidden = {
            "d_h": self._d_h,
            "through_r": through_r,
            "d_output": d.output,
            "lengths": a.lengths,
            "reset": a.reset,
            "d_reset_h": self._d_reset_h,
            "recurrent_mask": a.recurrent_mask,
            "zoneout_hidden_mask": a.zoneout_hidden_mask,
            "t": t,
            "later": later,
            "B": len(a.h_0),
        }
        d_emitted = None
        if a.weight_hr is not None:
            assert self._d_new_h is not None
            self._projects.run(
                self._kernels.hidden_backward,
                **of_hidden,
                d_new_h=self._d_new_h,
                H=a.h_0.shape[1],
                ZONEOUT_HIDDEN=a.zoneout_hidden,
            )
            d_emitted = times(self._d_new_h[t].to(a.weight_hr.dtype), a.weight_hr)
        self._launch.run(
            self._kernels.cell_backward,
            **of_hidden,
            d_emitted=d_emitted,
            d_c=self._d_c,
            d_gates=d.gates,
            d_cells=d.cells,
            d_z=self._d_z,
            d_recurrent=self._d_recurrent,
            d_seen=self._d_seen,
            d_reset_c=self._d_reset_c,
            gates=self._saved.gates,
            cells=self._saved.cells,
            c_0=a.c_0,
            recurrent=self._recurrent,
            peephole=a.weight_peephole,
            norm_hh=a.norm_hh,
            norm_cell=a.norm_cell,
            norm_cell_bias=a.norm_cell_bias,
            reset_c=a.reset_c,
            zoneout_cell_mask=a.zoneout_cell_mask,
            steps=len(self._d_z),
            REVERSE=a.reverse,
            **self._constants,
        )

    def _arrive_at_start(self, through_r: Tensor, t: int) -> Tensor:
        """The gradient of h_0, from the step that was the first of the scan."""
        a = self._arguments
        if a.recurrent_mask is not None:
            through_r = through_r * a.recurrent_mask
        d_h = self._d_h + through_r
        if a.reset is None:
            return d_h
        was_reset = a.reset[t].unsqueeze(-1)
        if a.lengths is not None:
            was_reset = was_reset & (t < a.lengths).unsqueeze(-1)
        self._d_reset_h += torch.where(was_reset, d_h, 0.0)
        return torch.where(was_reset, 0.0, d_h)
