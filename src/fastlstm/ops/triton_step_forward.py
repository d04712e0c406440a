"""The recurrence of the back end "triton-step": a product and one kernel a step."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from fastlstm.ops.arguments import ScanArguments, ScanOutputs
from fastlstm.ops.triton_calls import first_seen, new_outputs
from fastlstm.ops.triton_launch import Launch, constants, times


def scan_steps(arguments: ScanArguments, kept: torch.dtype) -> ScanOutputs:
    """Run all steps.

    Args:
        arguments: as `triton_calls.prepared` makes them.
        kept: the dtype in which h is handed on and out.

    Returns:
        The outputs; c_n in the dtype of the state.
    """
    return _Scan(arguments, kept).run()


class _Scan:
    """A forward pass under way; the arguments are those of `scan_steps`."""

    def __init__(self, arguments: ScanArguments, kept: torch.dtype) -> None:
        from fastlstm.ops import triton_step_kernels  # Triton takes a second to import

        self._kernels = triton_step_kernels
        a = self._arguments = arguments
        rows = len(a.h_0)
        self._outputs = new_outputs(a, kept)
        # What R sees of h, where that is not what the step before left.
        changed = a.reset is not None or a.recurrent_mask is not None
        self._seen = a.h_0.new_empty(a.h_0.shape) if changed else None
        # The hidden state before its projection, where there is one.
        self._emitted = None
        if a.weight_hr is not None:
            self._emitted = a.c_0.new_empty(a.c_0.shape, dtype=a.state_dtype)
        self._constants = constants(a)
        self._launch = Launch.over(rows, a.hidden_size, a.norm_hh is not None)
        self._projects = Launch.over(rows, a.h_0.shape[1])

    def run(self) -> ScanOutputs:
        """All steps."""
        a, found = self._arguments, self._outputs
        seen = first_seen(a)
        for t, following in _order(a):
            if a.save_every > 1 and _starts_chunk(a, t):
                found.cells[t // a.save_every] = found.c_n
            self._step(t, following, times(seen.to(a.weight_hh.dtype), a.weight_hh.t()))
            seen = found.h_n if self._seen is None else self._seen
        return found

    def _step(self, t: int, following: int, recurrent: Tensor) -> None:
        a, found = self._arguments, self._outputs
        every = a.save_every == 1
        of_hidden = {
            "h": found.h_n,
            "output": found.output,
            "h_input": self._seen,
            "lengths": a.lengths,
            "reset": a.reset,
            "reset_h": a.reset_h,
            "recurrent_mask": a.recurrent_mask,
            "zoneout_hidden_mask": a.zoneout_hidden_mask,
            "t": t,
            "following": following,
            "B": len(a.h_0),
        }
        self._launch.run(
            self._kernels.cell_forward,
            **of_hidden,
            gates_x=a.input,
            recurrent=recurrent,
            c=found.c_n,
            emitted=self._emitted,
            gates=found.gates if every else None,
            cells=found.cells if every else None,
            peephole=a.weight_peephole,
            norm_hh=a.norm_hh,
            norm_cell=a.norm_cell,
            norm_cell_bias=a.norm_cell_bias,
            reset_c=a.reset_c,
            zoneout_cell_mask=a.zoneout_cell_mask,
            **self._constants,
        )
        if a.weight_hr is not None:
            assert self._emitted is not None
            self._projects.run(
                self._kernels.hidden_forward,
                **of_hidden,
                projected=times(self._emitted.to(a.weight_hr.dtype), a.weight_hr.t()),
                H=a.h_0.shape[1],
                ZONEOUT_HIDDEN=a.zoneout_hidden,
            )


def _order(arguments: ScanArguments) -> Iterator[tuple[int, int]]:
    """Each step and the one that follows it, in the order of the scan; the last follows itself."""
    steps = list(range(arguments.input.shape[0]))
    if arguments.reverse:
        steps.reverse()
    return zip(steps, [*steps[1:], steps[-1]], strict=True)


def _starts_chunk(arguments: ScanArguments, t: int) -> bool:
    """Whether the state before step t is one of those that ``save_every`` keeps."""
    every, steps = arguments.save_every, arguments.input.shape[0]
    if arguments.reverse:
        return t == steps - 1 or (t + 1) % every == 0
    return t % every == 0
