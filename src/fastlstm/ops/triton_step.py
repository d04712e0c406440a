"""The back end "triton-step": a product and one kernel a step, for any size and any GPU.

The large products before and after the recurrence, and that by R in each step, are torch's; what
stands between them is one kernel of `triton_step_kernels.py`, or two with a projection. The floor
is that of the launches, two a step, and the reading of R from memory.

A ragged batch keeps its padding: finding the real steps would need the lengths on the host, and
nothing here waits for the device.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec

import torch
from torch import Tensor

from fastlstm.ops import backward, equations, sums
from fastlstm.ops.arguments import BackwardCall, ScanArguments, ScanOutputs, check_arguments
from fastlstm.ops.gradients import Gradients, Kernels
from fastlstm.ops.real_steps import PaddedSteps
from fastlstm.ops.triton_launch import (
    MOST_UNITS,
    Launch,
    constants,
    contiguous,
    on_device_of,
    product,
    times,
)
from fastlstm.ops.triton_step_backward import loop

_DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def refusal(arguments: ScanArguments) -> str | None:
    """Why the kernels cannot serve this call, or None."""
    x = arguments.input
    if x.device.type not in ("cuda", "xpu") and not _is_interpreted():
        return f"it runs on GPUs, and the input is on {x.device}"
    if x.dtype not in _DTYPES:
        return f"it knows float32, float64, bfloat16 and float16, and the input is {x.dtype}"
    if not _has_triton():
        return "Triton is not installed"
    if 0 in arguments.c_0.shape + arguments.h_0.shape[-1:]:
        return "the layer has no units, or the batch no rows"
    if arguments.norm_hh is not None and arguments.hidden_size > MOST_UNITS:
        return f"it normalises up to {MOST_UNITS:,} units, and there are {arguments.hidden_size:,}"
    return None


@cache
def _has_triton() -> bool:
    return find_spec("triton") is not None


def _is_interpreted() -> bool:
    """Whether Triton's interpreter runs kernels on the CPU, as for tests and in a debugger."""
    return os.environ.get("TRITON_INTERPRET", "0") == "1"


def scan(arguments: ScanArguments) -> ScanOutputs:
    """Run one layer in one direction over all time steps."""
    check_arguments(arguments)
    with on_device_of(arguments.input):
        return _Scan(_calculated(arguments), arguments.input.dtype).run()


def scan_backward(call: BackwardCall) -> Gradients:
    """The gradients that are needed."""
    arguments = call.arguments
    widens = arguments.save_every != 1 or _calculated(arguments) is not arguments
    return backward.scan_backward(call, _KERNELS, widens)


def _calculated(arguments: ScanArguments) -> ScanArguments:
    """The arguments in the dtype of the products: 16 bits as they are, unless a switch is on."""
    return equations.in_working_dtype(arguments) if arguments.has_switches else arguments


class _Scan:
    """A forward pass under way.

    Args:
        arguments: in the dtype of the products.
        kept: the dtype in which h is handed on and out.
    """

    def __init__(self, arguments: ScanArguments, kept: torch.dtype) -> None:
        from fastlstm.ops import triton_step_kernels  # Triton takes a second to import

        self._kernels = triton_step_kernels
        a = self._arguments = contiguous(arguments)
        steps, rows, _ = a.input.shape
        gates, cells = equations.saved_shapes(a)
        self._kept = kept
        self._outputs = ScanOutputs(
            a.input.new_empty((steps, *a.h_0.shape), dtype=kept),
            a.h_0.to(kept, copy=True),  # the states, as the steps leave them
            a.c_0.to(a.state_dtype, copy=True),
            a.input.new_empty(gates, dtype=kept),
            a.input.new_empty(cells, dtype=a.state_dtype),
        )
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
        gates_x = _input_part(a).contiguous()
        seen = _first_seen(a)
        for t, following in _order(a):
            if a.save_every > 1 and _starts_chunk(a, t):
                found.cells[t // a.save_every] = found.c_n
            self._step(t, following, gates_x, times(seen.to(a.input.dtype), a.weight_hh.t()))
            seen = found.h_n if self._seen is None else self._seen
        return found._replace(c_n=found.c_n.to(self._kept))

    def _step(self, t: int, following: int, gates_x: Tensor, recurrent: Tensor) -> None:
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
            gates_x=gates_x,
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
                projected=self._emitted @ a.weight_hr.t(),
                H=a.h_0.shape[1],
                ZONEOUT_HIDDEN=a.zoneout_hidden,
            )


def _input_part(arguments: ScanArguments) -> Tensor:
    """``W x + b`` of all time steps, (T, B, GH), in the dtype of the state."""
    a, live = arguments, equations.live_steps(arguments)
    if a.input.dtype == a.state_dtype:
        return equations.input_part(a, live)
    x = a.input if live is None else torch.where(live.unsqueeze(-1), a.input, 0)
    gates_x = times(x.flatten(0, 1), a.weight_ih.t())
    for bias in (a.bias_ih, a.bias_hh):
        if bias is not None:
            gates_x += bias
    return gates_x.unflatten(0, x.shape[:2])


def _first_seen(arguments: ScanArguments) -> Tensor:
    """What R sees of h_0: (B, R)."""
    first = arguments.input.shape[0] - 1 if arguments.reverse else 0
    state = equations.State(arguments.h_0, arguments.c_0)
    seen = equations.at_reset(arguments, first, state).hidden
    return seen if arguments.recurrent_mask is None else seen * arguments.recurrent_mask


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


_KERNELS = Kernels(scan, loop, product, sums.column_dots, sums.norm_totals, PaddedSteps)
