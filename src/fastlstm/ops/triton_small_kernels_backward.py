"""The backward kernel of the back end "triton-small"; see `triton_small_kernels.py`.

Its floor is that of the forward kernel: R is read from shared memory once a step.
"""

# To a type checker a kernel's function raises, as it does when it is called from outside of one.
# pyright: reportGeneralTypeIssues=false

import triton
import triton.language as tl

from fastlstm.ops.triton_cell import (
    load,
    load_gates,
    of_step,
    row_flags,
    row_lengths,
    tile,
    unit_flags,
)
from fastlstm.ops.triton_cell_backward import (
    cell_step_backward,
    first_of_row,
    handed_back,
    hidden_step_backward,
    reset_backward,
)
from fastlstm.ops.triton_small_kernels import gate_weights, longest_of, weight_tile


@triton.jit
def _product_back(weight, d, PRECISION: tl.constexpr):
    """``d weight`` for the rows of d: factors in the weight's dtype, sums in at least 32 bits."""
    factor = tl.trans(d.to(weight.dtype))
    found = tl.dot(tl.trans(weight), factor, input_precision=PRECISION)
    return tl.trans(found)


@triton.jit
def _load_before(
    cells, t, steps, B, first, rows, units, inside, H: tl.constexpr, REVERSE: tl.constexpr
):
    """The cell state that step t finds where it is not the first one."""
    before = t + 1 if REVERSE else t - 1
    inside = inside & (before >= 0) & (before < steps)
    pointer = of_step(cells, before, B, first, H)
    return tl.load(pointer + rows * H + units, mask=inside, other=0.0)


@triton.jit(do_not_specialize=["steps", "B"])
def backward(
    weight_hh, weight_hr, d_h, d_c, d_reset_h, d_reset_c, d_output, d_gates, d_cells,
    d_z, d_recurrent, d_seen, d_new_h, gates, cells, c_0, recurrent,
    peephole, norm_hh, norm_cell, norm_cell_bias, lengths, reset, reset_c,
    recurrent_mask, zoneout_cell_mask, zoneout_hidden_mask,
    steps, B, H: tl.constexpr, FEATURES: tl.constexpr, GATES: tl.constexpr,
    EPSILON: tl.constexpr, CLIP: tl.constexpr, ZONEOUT_CELL: tl.constexpr,
    ZONEOUT_HIDDEN: tl.constexpr, REVERSE: tl.constexpr, PRECISION: tl.constexpr,
    BLOCK_B: tl.constexpr, BLOCK_H: tl.constexpr, BLOCK_F: tl.constexpr,
):  # fmt: skip
    """All steps back: `d_z` (T, B, GH), and the states' gradients, which are written over.

    What is past the longest of a program's rows is not written.
    """
    work: tl.constexpr = d_c.dtype.element_ty
    first, rows, units, inside = tile(B, H, BLOCK_B, BLOCK_H)
    features = tl.arange(0, BLOCK_F)[None, :]
    inside_h = (first + rows < B) & (features < FEATURES)
    at, at_h = first * H + rows * H + units, first * FEATURES + rows * FEATURES + features
    r_of_i, r_of_f, r_of_g, r_of_o = gate_weights(weight_hh, H, FEATURES, GATES, BLOCK_H, BLOCK_F)
    if weight_hr is not None:
        projection = weight_tile(weight_hr, FEATURES, H, BLOCK_F, BLOCK_H)
    longest = longest_of(lengths, steps, B, first, rows)
    ends = None
    if lengths is not None:
        ends = row_lengths(lengths, B, first, rows)

    left_h = load(d_h, at_h, inside_h, work)
    left_c = load(d_c, at, inside, work)
    total_h = tl.zeros_like(left_h)
    total_c = tl.zeros_like(left_c)
    start_c = load(c_0, at, inside, work)
    begin = 0 if REVERSE else longest - 1
    some = longest > 0
    cell = load(of_step(cells, begin, B, first, H), rows * H + units, inside & some, work)
    # What a step reads is under way during the step before it, so that nobody waits for the
    # memory. Until then it stays as it is in memory: a conversion would wait.
    n_i, n_f, n_g, n_o = load_gates(
        of_step(gates, begin, B, first, GATES * H), rows, units, inside & some, H, GATES,
        gates.dtype.element_ty,
    )  # fmt: skip
    n_before = _load_before(cells, begin, steps, B, first, rows, units, inside & some, H, REVERSE)
    if d_output is not None:
        n_d_output = tl.load(
            of_step(d_output, begin, B, first, FEATURES) + rows * FEATURES + features,
            mask=inside_h & some, other=0.0,
        )  # fmt: skip
    there = tl.maximum(begin, 0)
    if reset is not None:
        n_reset = row_flags(reset, there, B, first, rows)
    if zoneout_cell_mask is not None:
        n_keeps_c = unit_flags(zoneout_cell_mask, there, B, first, rows, units, inside, H)
    if zoneout_hidden_mask is not None:
        n_keeps_h = unit_flags(
            zoneout_hidden_mask, there, B, first, rows, features, inside_h, FEATURES
        )  # fmt: skip
    if norm_hh is not None:
        n_r_i, n_r_f, n_r_g, n_r_o = load_gates(
            of_step(recurrent, begin, B, first, GATES * H), rows, units, inside & some, H, GATES,
            recurrent.dtype.element_ty,
        )  # fmt: skip
    for step in range(longest):
        t = step if REVERSE else longest - 1 - step
        i, f, g, o = n_i.to(work), n_f.to(work), n_g.to(work), n_o.to(work)
        before = tl.where(first_of_row(t, steps, ends, REVERSE), start_c, n_before)
        following = t + 1 if REVERSE else t - 1
        more = step + 1 < longest
        n_i, n_f, n_g, n_o = load_gates(
            of_step(gates, following, B, first, GATES * H), rows, units, inside & more, H, GATES,
            gates.dtype.element_ty,
        )  # fmt: skip
        n_before = _load_before(
            cells, following, steps, B, first, rows, units, inside & more, H, REVERSE
        )
        d_of_output = None
        if d_output is not None:
            d_of_output = n_d_output.to(work)
            n_d_output = tl.load(
                of_step(d_output, following, B, first, FEATURES) + rows * FEATURES + features,
                mask=inside_h & more, other=0.0,
            )  # fmt: skip
        there = tl.minimum(tl.maximum(following, 0), steps - 1)
        was_reset, keeps_c, keeps_h = None, None, None
        if reset is not None:
            was_reset = n_reset
            n_reset = row_flags(reset, there, B, first, rows)
        if zoneout_cell_mask is not None:
            keeps_c = n_keeps_c
            n_keeps_c = unit_flags(zoneout_cell_mask, there, B, first, rows, units, inside, H)
        if zoneout_hidden_mask is not None:
            keeps_h = n_keeps_h
            n_keeps_h = unit_flags(
                zoneout_hidden_mask, there, B, first, rows, features, inside_h, FEATURES
            )  # fmt: skip
        r_i, r_f, r_g, r_o = None, None, None, None
        if norm_hh is not None:
            r_i, r_f, r_g, r_o = n_r_i.to(work), n_r_f.to(work), n_r_g.to(work), n_r_o.to(work)
            n_r_i, n_r_f, n_r_g, n_r_o = load_gates(
                of_step(recurrent, following, B, first, GATES * H), rows, units, inside & more,
                H, GATES, recurrent.dtype.element_ty,
            )  # fmt: skip
        alive = None
        if lengths is not None:
            alive = t < ends
        d_out, d_old_h = hidden_step_backward(
            left_h, d_of_output, alive, keeps_h, ZONEOUT_HIDDEN
        )  # fmt: skip
        if weight_hr is not None:
            of_new_h = of_step(d_new_h, t, B, first, FEATURES)
            tl.store(of_new_h + rows * FEATURES + features, d_out, mask=inside_h)
            d_out = _product_back(projection, d_out, PRECISION)
        d_i, d_f, d_g, d_o, left_c = cell_step_backward(
            d_out, left_c, i, f, g, o, cell, before, r_i, r_f, r_g, r_o, alive, was_reset, keeps_c,
            d_gates, d_cells, d_z, d_recurrent, d_seen,
            peephole, norm_hh, norm_cell, norm_cell_bias, reset_c,
            t, B, first, rows, units, inside, H, GATES, EPSILON, CLIP, ZONEOUT_CELL,
        )  # fmt: skip
        cell = before  # what the next step left
        # Four sums apart from each other, as each is a chain in which every link waits.
        through_r = _product_back(r_of_f, d_f, PRECISION)
        through_r += _product_back(r_of_g, d_g, PRECISION)
        through_r += _product_back(r_of_o, d_o, PRECISION)
        if GATES == 4:
            through_r += _product_back(r_of_i, d_i, PRECISION)
        left_h = handed_back(
            d_old_h, through_r, recurrent_mask, first, rows, features, inside_h, FEATURES
        )
        if reset is not None:
            left_h, total_h = reset_backward(left_h, total_h, alive, was_reset)
            left_c, total_c = reset_backward(left_c, total_c, alive, was_reset)
    tl.store(d_h + at_h, left_h, mask=inside_h)
    tl.store(d_c + at, left_c, mask=inside)
    if reset is not None:
        tl.store(d_reset_h + at_h, total_h, mask=inside_h)
        tl.store(d_reset_c + at, total_c, mask=inside)
