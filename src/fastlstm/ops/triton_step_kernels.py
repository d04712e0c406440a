"""The kernels of the back end "triton-step": a step a launch, the state in memory between them.

The step itself is in `triton_cell.py` and `triton_cell_backward.py`. The floor of a kernel is the
reading and writing of its step's part of each tensor, over the bandwidth of the memory; at small
sizes it is the launch.
"""

# To a type checker a kernel's function raises, as it does when it is called from outside of one.
# pyright: reportGeneralTypeIssues=false

import triton
import triton.language as tl

from fastlstm.ops.triton_cell import (
    cell_step,
    hidden_step,
    load,
    load_gates,
    of_step,
    row_flags,
    row_lengths,
    seen_by_recurrent,
    tile,
    unit_flags,
)
from fastlstm.ops.triton_cell_backward import (
    cell_step_backward,
    handed_back,
    hidden_step_backward,
    load_cell_before,
    reset_backward,
)

# The numbers that differ from step to step and from batch to batch; Triton would compile a kernel
# anew for a 1 and for multiples of 16.
_VARYING = ["t", "following", "later", "steps", "B"]


@triton.jit
def _leave_hidden(
    new_h, alive, was_reset, h, output, h_input, reset, reset_h, recurrent_mask,
    zoneout_hidden_mask,
    t, following, B, first, rows, units, inside, H: tl.constexpr, ZONEOUT_HIDDEN: tl.constexpr,
):  # fmt: skip
    """Write the hidden state that a step leaves, and what R sees of it in the following step."""
    at = first * H + rows * H + units
    before = load(h, at, inside, new_h.dtype)
    keeps = unit_flags(zoneout_hidden_mask, t, B, first, rows, units, inside, H)
    new_h = hidden_step(
        new_h, before, alive, was_reset, keeps, output, reset_h,
        t, B, first, rows, units, inside, H, ZONEOUT_HIDDEN,
    )  # fmt: skip
    tl.store(h + at, new_h, mask=inside)
    if h_input is not None:
        will_be_reset = row_flags(reset, following, B, first, rows)
        seen = seen_by_recurrent(
            new_h, will_be_reset, reset_h, recurrent_mask, first, rows, units, inside, H
        )
        tl.store(h_input + at, seen, mask=inside)


@triton.jit(do_not_specialize=_VARYING)
def hidden_forward(
    projected, h, output, h_input, lengths, reset, reset_h, recurrent_mask, zoneout_hidden_mask,
    t, following, B, H: tl.constexpr, ZONEOUT_HIDDEN: tl.constexpr, BLOCK_B: tl.constexpr,
    BLOCK_H: tl.constexpr,
):  # fmt: skip
    """The end of a step with a projection to H features, a product between the two kernels."""
    first, rows, units, inside = tile(B, H, BLOCK_B, BLOCK_H)
    alive = None
    if lengths is not None:
        alive = t < row_lengths(lengths, B, first, rows)
    new_h = load(projected + first * H, rows * H + units, inside, projected.dtype.element_ty)
    was_reset = row_flags(reset, t, B, first, rows)
    _leave_hidden(
        new_h, alive, was_reset, h, output, h_input, reset, reset_h, recurrent_mask,
        zoneout_hidden_mask, t, following, B, first, rows, units, inside, H, ZONEOUT_HIDDEN,
    )  # fmt: skip


@triton.jit(do_not_specialize=_VARYING)
def cell_forward(
    gates_x, recurrent, h, c, output, h_input, emitted, gates, cells,
    peephole, norm_hh, norm_cell, norm_cell_bias, lengths, reset, reset_h, reset_c,
    recurrent_mask, zoneout_cell_mask, zoneout_hidden_mask,
    t, following, B, H: tl.constexpr, GATES: tl.constexpr, EPSILON: tl.constexpr,
    CLIP: tl.constexpr, ZONEOUT_CELL: tl.constexpr, ZONEOUT_HIDDEN: tl.constexpr,
    BLOCK_B: tl.constexpr, BLOCK_H: tl.constexpr,
):  # fmt: skip
    """Step t, from W x + b (T, B, GH) and its R h (B, GH) to the states, which are written over.

    `h_input` (B, H), where given, takes what R sees of h in the step that is `following`. With a
    projection `emitted` (B, H) takes what goes into it, and `hidden_forward` follows.
    """
    work: tl.constexpr = gates_x.dtype.element_ty
    first, rows, units, inside = tile(B, H, BLOCK_B, BLOCK_H)
    alive = None
    if lengths is not None:
        alive = t < row_lengths(lengths, B, first, rows)
    of_gates = of_step(gates_x, t, B, first, GATES * H)
    x_i, x_f, x_g, x_o = load_gates(of_gates, rows, units, inside, H, GATES, work)
    of_gates = recurrent + first * (GATES * H)
    r_i, r_f, r_g, r_o = load_gates(of_gates, rows, units, inside, H, GATES, work)
    at = first * H + rows * H + units
    was_reset = row_flags(reset, t, B, first, rows)
    keeps = unit_flags(zoneout_cell_mask, t, B, first, rows, units, inside, H)
    state, new_h = cell_step(
        x_i, x_f, x_g, x_o, r_i, r_f, r_g, r_o, load(c, at, inside, work), alive, was_reset, keeps,
        gates, cells, peephole, norm_hh, norm_cell, norm_cell_bias, reset_c,
        t, B, first, rows, units, inside, H, GATES, EPSILON, CLIP, ZONEOUT_CELL,
    )  # fmt: skip
    tl.store(c + at, state, mask=inside)
    if emitted is not None:
        tl.store(emitted + at, new_h, mask=inside)
    else:
        _leave_hidden(
            new_h, alive, was_reset, h, output, h_input, reset, reset_h, recurrent_mask,
            zoneout_hidden_mask, t, following, B, first, rows, units, inside, H, ZONEOUT_HIDDEN,
        )  # fmt: skip


@triton.jit
def _reach_hidden(
    alive, d_h, through_r, d_output, lengths, reset, d_reset_h, recurrent_mask,
    zoneout_hidden_mask,
    t, later, B, first, rows, units, inside, H: tl.constexpr, ZONEOUT_HIDDEN: tl.constexpr,
    work: tl.constexpr,
):  # fmt: skip
    """The gradient of the new hidden state; what the old one gets at once is written to d_h.

    First the end of the step that came before this one, whose product by R lies between them.
    """
    of_program = rows * H + units
    at = first * H + of_program
    left = handed_back(
        load(d_h, at, inside, work), load(through_r, at, inside, work), recurrent_mask,
        first, rows, units, inside, H,
    )  # fmt: skip
    if reset is not None:
        of_later = later != t
        if lengths is not None:
            of_later = of_later & (later < row_lengths(lengths, B, first, rows))
        total = load(d_reset_h, at, inside, work)
        was_reset = row_flags(reset, later, B, first, rows)
        left, total = reset_backward(left, total, of_later, was_reset)
        tl.store(d_reset_h + at, total, mask=inside)
    d_of_output = None
    if d_output is not None:
        d_of_output = load(of_step(d_output, t, B, first, H), of_program, inside, work)
    keeps = unit_flags(zoneout_hidden_mask, t, B, first, rows, units, inside, H)
    d_new, d_old = hidden_step_backward(left, d_of_output, alive, keeps, ZONEOUT_HIDDEN)
    tl.store(d_h + at, d_old, mask=inside)
    return d_new


@triton.jit(do_not_specialize=_VARYING)
def hidden_backward(
    d_h, through_r, d_output, d_new_h, lengths, reset, d_reset_h, recurrent_mask,
    zoneout_hidden_mask,
    t, later, B, H: tl.constexpr, ZONEOUT_HIDDEN: tl.constexpr, BLOCK_B: tl.constexpr,
    BLOCK_H: tl.constexpr,
):  # fmt: skip
    """The beginning of a step with a projection to H features, a product between the kernels."""
    work: tl.constexpr = d_h.dtype.element_ty
    first, rows, units, inside = tile(B, H, BLOCK_B, BLOCK_H)
    alive = None
    if lengths is not None:
        alive = t < row_lengths(lengths, B, first, rows)
    d = _reach_hidden(
        alive, d_h, through_r, d_output, lengths, reset, d_reset_h, recurrent_mask,
        zoneout_hidden_mask, t, later, B, first, rows, units, inside, H, ZONEOUT_HIDDEN, work,
    )  # fmt: skip
    tl.store(of_step(d_new_h, t, B, first, H) + rows * H + units, d, mask=inside)


@triton.jit(do_not_specialize=_VARYING)
def cell_backward(
    d_h, through_r, d_emitted, d_c, d_output, d_gates, d_cells, d_z, d_recurrent, d_seen,
    d_reset_h, d_reset_c, gates, cells, c_0, recurrent,
    peephole, norm_hh, norm_cell, norm_cell_bias, lengths, reset, reset_c,
    recurrent_mask, zoneout_cell_mask, zoneout_hidden_mask,
    t, later, steps, B, H: tl.constexpr, GATES: tl.constexpr, EPSILON: tl.constexpr,
    CLIP: tl.constexpr, ZONEOUT_CELL: tl.constexpr, ZONEOUT_HIDDEN: tl.constexpr,
    REVERSE: tl.constexpr, BLOCK_B: tl.constexpr, BLOCK_H: tl.constexpr,
):  # fmt: skip
    """Step t back: `d_z` (T, B, GH), and the states' gradients, which are written over.

    `later` is the step that this one follows on the way back, or t where there is none, and
    `through_r` (B, H) its product by R, zero then. With a projection `hidden_backward` went
    before, and `d_emitted` (B, H) is its product with the projection's weight.
    """
    work: tl.constexpr = d_c.dtype.element_ty
    first, rows, units, inside = tile(B, H, BLOCK_B, BLOCK_H)
    of_program = rows * H + units
    at = first * H + of_program
    alive = None
    if lengths is not None:
        alive = t < row_lengths(lengths, B, first, rows)
    if d_emitted is not None:
        d_out = load(d_emitted, at, inside, work)
    else:
        d_out = _reach_hidden(
            alive, d_h, through_r, d_output, lengths, reset, d_reset_h, recurrent_mask,
            zoneout_hidden_mask, t, later, B, first, rows, units, inside, H, ZONEOUT_HIDDEN, work,
        )  # fmt: skip

    of_gates = of_step(gates, t, B, first, GATES * H)
    i, f, g, o = load_gates(of_gates, rows, units, inside, H, GATES, work)
    cell = load(of_step(cells, t, B, first, H), of_program, inside, work)
    before = load_cell_before(
        cells, c_0, lengths, t, steps, B, first, rows, units, inside, H, REVERSE, work
    )
    r_i, r_f, r_g, r_o = None, None, None, None
    if norm_hh is not None:
        of_gates = of_step(recurrent, t, B, first, GATES * H)
        r_i, r_f, r_g, r_o = load_gates(of_gates, rows, units, inside, H, GATES, work)
    was_reset = row_flags(reset, t, B, first, rows)
    keeps = unit_flags(zoneout_cell_mask, t, B, first, rows, units, inside, H)
    _, _, _, _, d_old_c = cell_step_backward(
        d_out, load(d_c, at, inside, work), i, f, g, o, cell, before, r_i, r_f, r_g, r_o,
        alive, was_reset, keeps, d_gates, d_cells, d_z, d_recurrent, d_seen,
        peephole, norm_hh, norm_cell, norm_cell_bias, reset_c,
        t, B, first, rows, units, inside, H, GATES, EPSILON, CLIP, ZONEOUT_CELL,
    )  # fmt: skip
    if reset is not None:
        total = load(d_reset_c, at, inside, work)
        d_old_c, total = reset_backward(d_old_c, total, alive, was_reset)
        tl.store(d_reset_c + at, total, mask=inside)
    tl.store(d_c + at, d_old_c, mask=inside)
