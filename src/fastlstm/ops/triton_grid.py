"""The back end "triton-grid": all steps in one launch, with R spread over the processors of a GPU.

A program has some units of some rows of the batch. It keeps their rows of R (forward) or columns
(backward) on its processor while it walks over time, and the state of its units; what R sees of the
other units' state it reads in every step from memory, where their programs have left it, after a
barrier. Layer norm takes two barriers more, in which programs add up what they have of a row, and a
projection one: each program has some features of the hidden state then, and their rows of the
projection beside those of R. A barrier needs all programs on the device at once: a cooperative
launch.

The products before and after the recurrence are torch's, as those of "triton-step". What R sees is
in the 16 bits of the input, as the hidden state is handed out; float32 is taken apart into three
bfloat16, or two where `torch.backends.cuda.matmul.allow_tf32` allows fewer digits.
"""

from __future__ import annotations

from functools import cache, partial
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from fastlstm.ops import backward, cooperative, triton_calls
from fastlstm.ops.arguments import (
    BackwardCall,
    Cotangents,
    ScanArguments,
    ScanOutputs,
    check_arguments,
)
from fastlstm.ops.gradients import Contributions, Forward, Gradients, Saved
from fastlstm.ops.triton_calls import (
    backward_kernels,
    first_seen,
    is_interpreted,
    new_outputs,
    prepared,
    prepared_backward,
    state_gradients,
)
from fastlstm.ops.triton_grid_plan import WARPS, Chip, Plan, backward_plan, forward_plan
from fastlstm.ops.triton_launch import allows_tf32, constants, on_device_of

INTERPRETED = Chip(132, 227 * 1024)
"""Triton's interpreter plays an H100."""


def refusal(arguments: ScanArguments) -> str | None:
    """Why the kernels cannot serve this call, or None."""
    reason = triton_calls.refusal(arguments)
    if reason is not None:
        return reason
    x = arguments.input
    if not is_interpreted():
        if x.device.type != "cuda" or torch.version.hip:
            return "it runs on NVIDIA GPUs alone"
        if torch.cuda.get_device_capability(x.device) < (8, 0):
            return "it needs a GPU of compute capability 8.0 or more"
        if x.dtype == torch.float64:
            return "it knows float32, bfloat16 and float16, and the input is torch.float64"
    reason = cooperative.refusal(x.device)
    if reason is not None:
        return reason
    if None in _plans(arguments, x.dtype):
        weights = f"weight_hh of {arguments.hidden_size:,} units"
        if arguments.weight_hr is not None:
            weights += f" and weight_hr to {arguments.h_0.shape[1]:,} features"
        return (
            f"the {_chip(x.device).processors} processors of the GPU have no room for {weights} "
            f"in {x.dtype}"
        )
    return None


@cache
def _chip(device: torch.device) -> Chip:
    if device.type != "cuda":
        return INTERPRETED
    found = torch.cuda.get_device_properties(device)
    # A kibibyte of a processor's shared memory is the driver's, for each program.
    return Chip(found.multi_processor_count, found.shared_memory_per_multiprocessor - 1024)


def _factors(dtype: torch.dtype) -> tuple[torch.dtype, int]:
    """The dtype in which numbers are multiplied by R, and how many stand for one of `dtype`."""
    if dtype == torch.float32:
        return torch.bfloat16, 2 if allows_tf32() else 3
    return dtype, 1


def _plans(arguments: ScanArguments, dtype: torch.dtype) -> tuple[Any, Any]:
    """Those of the forward and of the backward kernel; None for one that does not fit the chip."""
    a, (_, parts), chip = arguments, _factors(dtype), _chip(arguments.input.device)
    rows, hidden = a.c_0.shape
    features = None if a.weight_hr is None else a.h_0.shape[1]
    return (
        forward_plan(rows, hidden, parts, chip, features),
        backward_plan(rows, hidden, a.gate_count, parts, chip, features),
    )


def _stages(a: ScanArguments) -> int:
    """Into how many stages a step is divided, between which all programs wait for each other."""
    return 1 + 2 * (a.norm_hh is not None) + (a.weight_hr is not None)


def scan(arguments: ScanArguments) -> ScanOutputs:
    """Run one layer in one direction over all time steps."""
    check_arguments(arguments)
    return _scan(arguments)


def scan_backward(call: BackwardCall) -> Gradients:
    """The gradients that are needed."""
    dtype = call.arguments.input.dtype
    kernels = backward_kernels(_scan, partial(_loop, dtype), dtype)
    widens = call.arguments.save_every != 1 or call.arguments.norm_hh is not None
    return backward.scan_backward(call, kernels, widens)


def _scan(arguments: ScanArguments) -> ScanOutputs:
    from fastlstm.ops.triton_grid_forward import grid_forward  # Triton takes a second to import

    kept = arguments.input.dtype
    plan, _ = _plans(arguments, kept)
    normed, stages = arguments.norm_hh is not None, _stages(arguments)
    with on_device_of(arguments.input), cooperative.launching(arguments.input.device):
        a = prepared(arguments)
        found = new_outputs(a, kept)
        vectors = plan.vectors(a.c_0, *_factors(kept))
        plan.write(vectors, first_seen(a))
        _launch(
            grid_forward,
            plan,
            len(a.input) * stages,
            a,
            weight=plan.weight(_by_gate(a), *_factors(kept)),
            vectors=vectors,
            **_projection(plan, a.weight_hr, kept),
            UNITS=plan.units,
            FEATURES=(plan.projection or plan).units,
            gates_x=a.input,
            h=found.h_n,
            c=found.c_n,
            output=found.output,
            gates=found.gates if a.save_every == 1 else None,
            cells=found.cells if a.save_every == 1 else None,
            starts=found.cells if a.save_every > 1 else None,
            reset_h=a.reset_h,
            every=max(a.save_every, 1),
            EPSILON=a.norm_epsilon,
            STAGES=stages,
            recurrent=a.input.new_empty(a.input.shape[1:]) if normed else None,
            new_cells=torch.empty_like(found.c_n) if normed else None,
            output_gates=torch.empty_like(found.c_n) if normed else None,
        )
    return found._replace(c_n=found.c_n.to(kept))


def _loop(
    dtype: torch.dtype,
    cotangents: Cotangents,
    arguments: ScanArguments,
    saved: Saved,
    forward: Forward,
) -> tuple[Contributions, tuple[Tensor, ...]]:
    """As ``gradients.loop``, with padding (`PaddedSteps`), and with products of this dtype."""
    from fastlstm.ops.triton_grid_backward import grid_backward  # Triton takes a second to import

    _, plan = _plans(arguments, dtype)
    with on_device_of(arguments.input), cooperative.launching(arguments.input.device):
        d, a, saved = prepared_backward(cotangents, arguments, saved)
        d_h, d_c, d_reset_h, d_reset_c = state_gradients(d, a)
        d_z = torch.empty_like(saved.gates)
        d_recurrent, d_seen, shares = d_z, None, None
        normed = a.norm_hh is not None
        if normed:
            d_recurrent, d_seen = torch.empty_like(d_z), torch.empty_like(saved.cells)
        back_hr, d_new_h = None, None
        if a.weight_hr is not None:
            back_hr, d_new_h = a.weight_hr.t(), d_h.new_empty(len(d_z), *d_h.shape)
        before_hidden = 0
        if plan.shares > 1:
            tiles = plan.groups * plan.tiles
            shares = d_c.new_empty(tiles, plan.programs, plan.rows, plan.outputs)
            before_hidden = 1
        stages = before_hidden + _stages(a)
        _launch(
            grid_backward,
            plan,
            len(d_z) * stages + before_hidden + 1,
            a,
            weight=plan.weight(a.weight_hh.t().unsqueeze(0), *_factors(dtype)),
            vectors=plan.vectors(d_c, *_factors(dtype)),
            **_projection(plan, back_hr, dtype),
            UNITS=(plan.projection or plan).units,
            FEATURES=plan.units,
            shares=shares,
            d_h=d_h,
            d_c=d_c,
            d_reset_h=d_reset_h,
            d_reset_c=d_reset_c,
            d_z=d_z,
            d_recurrent=d_recurrent if normed else None,
            d_seen=d_seen,
            d_new_h=d_new_h,
            d_emitted=torch.empty_like(d_c) if normed else None,
            **_normalized(a, forward),
            d_output=d.output,
            d_gates=d.gates,
            d_cells=d.cells,
            SHARES=plan.shares,
            STAGES=stages,
            gates=saved.gates,
            cells=saved.cells,
            c_0=a.c_0,
        )
    d_seen, d_new_h = (None if d is None else d.flatten(0, 1) for d in (d_seen, d_new_h))
    contributions = Contributions(d_z.flatten(0, 1), d_recurrent.flatten(0, 1), d_seen, d_new_h)
    return contributions, (d_h, d_c, d_reset_h, d_reset_c)


def _normalized(a: ScanArguments, forward: Forward) -> dict[str, Tensor | None]:
    """Both layer norms of all steps, without their gains, and one over the rows' deviations."""
    names = ("recurrent", "of_recurrent"), ("cells_seen", "of_cells")
    if a.norm_hh is None:
        return dict.fromkeys(chain(*names))
    found = {}
    for (values, deviations), x in zip(names, (forward.recurrent, forward.new_c), strict=True):
        variance, mean = torch.var_mean(x, dim=-1, correction=0, keepdim=True)
        found[deviations] = (variance + a.norm_epsilon).rsqrt()
        found[values] = (x - mean) * found[deviations]
    return found


def _projection(plan: Plan, weight: Tensor | None, dtype: torch.dtype) -> dict[str, Any]:
    """What a kernel has of a projection: its weight, (sums, terms), and what that multiplies."""
    product, parts = plan.projection, _factors(dtype)
    if product is None or weight is None:
        return dict.fromkeys(("weight_hr", "vectors_hr", "HR_CHUNKS", "HR_BATCH"))
    return {
        "weight_hr": product.weight(weight.unsqueeze(0), *parts),
        "vectors_hr": product.vectors(weight, *parts)[0],
        "HR_CHUNKS": product.chunks,
        "HR_BATCH": product.batch,
    }


def _launch(kernel: Any, plan: Plan, turns: int, a: ScanArguments, **others: Any) -> None:
    """Run a kernel over so many turns; what both kernels read of the arguments is added here."""
    numbers = constants(a)
    del numbers["EPSILON"]
    partials = None
    if a.norm_hh is not None:
        size = (2, plan.groups * plan.tiles, 2, plan.rows, plan.programs)
        partials = a.c_0.new_empty(size, dtype=a.state_dtype)
    for start, stop in _stretches(turns, a.input.device):
        kernel[plan.programs, plan.groups](
            **others,
            **numbers,
            arrived=torch.zeros(plan.groups, dtype=torch.int32, device=a.input.device),
            partials=partials,
            peephole=a.weight_peephole,
            norm_hh=a.norm_hh,
            norm_cell=a.norm_cell,
            norm_cell_bias=a.norm_cell_bias,
            lengths=a.lengths,
            reset=a.reset,
            reset_c=a.reset_c,
            recurrent_mask=a.recurrent_mask,
            zoneout_cell_mask=a.zoneout_cell_mask,
            zoneout_hidden_mask=a.zoneout_hidden_mask,
            start=start,
            stop=stop,
            steps=len(a.input),
            tiles=plan.tiles,
            B=len(a.c_0),
            R=a.h_0.shape[1],
            REVERSE=a.reverse,
            TILE=plan.rows,
            CHUNKS=plan.chunks,
            PARTS=plan.parts,
            HELD=plan.held,
            BATCH=plan.batch,
            PROGRAMS=plan.programs,
            num_warps=WARPS,
            num_stages=1,
            launch_cooperative_grid=True,
        )


def _stretches(turns: int, device: torch.device) -> list[tuple[int, int]]:
    """From which to which turn a launch goes: one has all, but under the interpreter one each.

    That runs one program after another, where none can wait for those that follow.
    """
    if device.type == "cpu":
        return [(turn, turn + 1) for turn in range(turns)]
    return [(0, turns)]


def _by_gate(a: ScanArguments) -> Tensor:
    """R with a first dimension of four gates; where they are coupled, that of i is zero."""
    by_gate = a.weight_hh.unflatten(0, (a.gate_count, a.hidden_size))
    if a.gate_count == 4:
        return by_gate
    return torch.cat((torch.zeros_like(by_gate[:1]), by_gate))
