"""The backward recurrence of the back end "triton-step": one kernel and a product a step."""

from __future__ import annotations

import torch
from torch import Tensor

from fastlstm.ops.arguments import Cotangents, ScanArguments
from fastlstm.ops.gradients import Contributions, Forward, Saved
from fastlstm.ops.triton_launch import Launch, at, constants, contiguous, on_device_of, times


def loop(
    cotangents: Cotangents, arguments: ScanArguments, saved: Saved, forward: Forward
) -> tuple[Contributions, tuple[Tensor, ...]]:
    """As ``gradients.loop``; what it is given and what it gives has its padding (`PaddedSteps`)."""
    with on_device_of(arguments.input):
        return _Loop(cotangents, arguments, saved, forward).run()


class _Loop:
    """A backward pass under way; the arguments are those of `loop`."""

    def __init__(
        self, cotangents: Cotangents, arguments: ScanArguments, saved: Saved, forward: Forward
    ) -> None:
        from fastlstm.ops import triton_cell_backward  # Triton takes a second to import

        self._kernels = triton_cell_backward
        a = self._arguments = contiguous(arguments)
        self._constants = constants(a)
        self._cotangents = Cotangents(*(None if d is None else d.contiguous() for d in cotangents))
        self._saved = Saved(*(value.contiguous() for value in saved))
        steps, rows, _ = a.input.shape
        normed, wide = a.norm_hh is not None, a.state_dtype
        # The gradients of the states, as the steps leave them.
        self._d_h, self._d_c = (
            torch.zeros_like(state, dtype=wide) if d is None else d.clone()
            for d, state in ((cotangents.h_n, a.h_0), (cotangents.c_n, a.c_0))
        )
        self._d_reset_h = torch.zeros_like(self._d_h)
        self._d_reset_c = torch.zeros_like(self._d_c)
        self._d_z = torch.empty_like(self._saved.gates)
        self._d_recurrent = torch.empty_like(self._d_z) if normed else self._d_z
        self._d_seen = a.c_0.new_empty(steps, *a.c_0.shape) if normed else None
        self._d_new_h = None
        if a.weight_hr is not None:
            self._d_new_h = a.h_0.new_empty(steps, *a.h_0.shape)
        self._recurrent = forward.recurrent.view(steps, rows, -1) if normed else None
        self._launch = Launch.over(rows, a.hidden_size, normed)
        self._projects = Launch.over(rows, a.h_0.shape[1])

    def run(self) -> tuple[Contributions, tuple[Tensor, ...]]:
        """All steps, the last of the scan first."""
        a = self._arguments
        steps = range(a.input.shape[0])
        through_r: Tensor | None = None
        later = 0
        for t in steps if a.reverse else reversed(steps):
            self._step(t, later, through_r)
            through_r = times(self._d_recurrent[t], a.weight_hh)
            later = t
        assert through_r is not None  # there is at least one step
        d_h_0 = self._arrive_at_start(through_r, later)
        d_seen, d_new_h = (
            None if d is None else d.flatten(0, 1) for d in (self._d_seen, self._d_new_h)
        )
        d_z, d_recurrent = self._d_z.flatten(0, 1), self._d_recurrent.flatten(0, 1)
        contributions = Contributions(d_z, d_recurrent, d_seen, d_new_h)
        return contributions, (d_h_0, self._d_c, self._d_reset_h, self._d_reset_c)

    def _step(self, t: int, later: int, through_r: Tensor | None) -> None:
        a, d = self._arguments, self._cotangents
        of_hidden = {
            "d_h": self._d_h,
            "through_r": through_r,
            "d_output": at(d.output, t),
            "recurrent_mask": a.recurrent_mask,
            "zoneout_hidden_mask": at(a.zoneout_hidden_mask, t),
            "later_reset": None if through_r is None else at(a.reset, later),
            "d_reset_h": self._d_reset_h,
            "lengths": a.lengths,
            "t": t,
            "later_t": later,
            "B": len(a.h_0),
        }
        d_emitted = None
        if a.weight_hr is not None:
            assert self._d_new_h is not None
            self._projects.run(
                self._kernels.hidden_backward,
                **of_hidden,
                d_new_h=self._d_new_h[t],
                H=a.h_0.shape[1],
                ZONEOUT_HIDDEN=a.zoneout_hidden,
            )
            d_emitted = self._d_new_h[t] @ a.weight_hr
        before, at_own_end = self._cells_before(t)
        self._launch.run(
            self._kernels.cell_backward,
            **of_hidden,
            d_emitted=d_emitted,
            d_c=self._d_c,
            d_gates=at(d.gates, t),
            d_cells=at(d.cells, t),
            d_z=self._d_z[t],
            d_recurrent=self._d_recurrent[t],
            d_seen=at(self._d_seen, t),
            d_reset_c=self._d_reset_c,
            gates=self._saved.gates[t],
            cells=self._saved.cells[t],
            cells_before=before,
            c_0=at_own_end,
            recurrent=at(self._recurrent, t),
            peephole=a.weight_peephole,
            norm_hh=a.norm_hh,
            norm_cell=a.norm_cell,
            norm_cell_bias=a.norm_cell_bias,
            reset=at(a.reset, t),
            reset_c=a.reset_c,
            zoneout_cell_mask=at(a.zoneout_cell_mask, t),
            **self._constants,
        )

    def _cells_before(self, t: int) -> tuple[Tensor, Tensor | None]:
        """The cell state that step t finds; and c_0, where a row may begin at its own end."""
        a, cells = self._arguments, self._saved.cells
        if not a.reverse:
            return (cells[t - 1] if t else a.c_0), None
        if t == len(cells) - 1:
            return a.c_0, None
        return cells[t + 1], None if a.lengths is None else a.c_0

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
