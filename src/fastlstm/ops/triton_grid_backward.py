"""The backward kernel of the back end "triton-grid".

A program has the columns of R for its units, or with a projection for its features. If it reads the
gradients of all gates, the floor of a step is that of the forward kernel with GATES times as much
through the second-level cache: with 64 rows and 1,024 units 33 MB in 16 bits, 6 µs on an H100, and
200 MB or 36 µs in float32, whose programs have half as many units, and three parts of each number.
Where that is more than a barrier takes, a program reads a quarter, has the columns of four times as
many units, and the shares of each sum are added up after a second barrier: 1.5 and 9 µs, and
B · H · 32 bytes for the shares (2 MB there). What is read of the forward pass and written takes
less, B · H · 40 bytes from and to memory, and overlaps. Layer norm has a program wait twice more,
see `triton_grid_norm.py`, and read in each of three stages what it needs of B · H · 130 bytes: R h
and the new cell states normalized, which torch does for all steps at once, and its own gradients of
the stage before.

A projection to R features has a program wait once more, read B · R · 2 · PARTS bytes through the
second-level cache (with 64 rows and 512 features in 16 bits 4 MB in all, 0.8 µs), and read again
what a step saved. R has fewer columns then, and a program that has none of them does not read what
the others multiply them by: of the traffic above there remains R / H.
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
    row_sum,
    store_gates,
    times_gain,
    unit_flags,
)
from fastlstm.ops.triton_cell_backward import (
    cell_again,
    gates_norm_backward,
    gates_norm_sums,
    gates_step_backward,
    handed_back,
    hidden_step_backward,
    norm_backward,
    reset_backward,
    seen_backward,
)
from fastlstm.ops.triton_grid_ahead import saved_norms, saved_step, step_back
from fastlstm.ops.triton_grid_norm import leave_numbers, sums_of_all
from fastlstm.ops.triton_grid_product import (
    SPAN,
    add_up_shares,
    arrive,
    hand_over,
    leave_share,
    nothing,
    product,
    slices,
    wait_for_all,
)


@triton.jit(do_not_specialize=["start", "stop", "steps", "tiles", "B"])
def grid_backward(
    weight, vectors, weight_hr, vectors_hr, shares, partials, d_emitted, arrived,
    d_h, d_c, d_reset_h, d_reset_c, d_z, d_recurrent, d_seen, d_new_h,
    d_output, d_gates, d_cells, gates, cells, c_0, recurrent, of_recurrent, of_cells, cells_seen,
    peephole, norm_hh, norm_cell, norm_cell_bias, lengths, reset, reset_c,
    recurrent_mask, zoneout_cell_mask, zoneout_hidden_mask,
    start, stop, steps, tiles, B,
    H: tl.constexpr, R: tl.constexpr, GATES: tl.constexpr, CLIP: tl.constexpr,
    ZONEOUT_CELL: tl.constexpr, ZONEOUT_HIDDEN: tl.constexpr, REVERSE: tl.constexpr,
    UNITS: tl.constexpr, FEATURES: tl.constexpr, TILE: tl.constexpr, CHUNKS: tl.constexpr,
    PARTS: tl.constexpr, HELD: tl.constexpr, BATCH: tl.constexpr, HR_CHUNKS: tl.constexpr,
    HR_BATCH: tl.constexpr, SHARES: tl.constexpr, PROGRAMS: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """The stages from `start` to `stop` of the way back; the states' gradients are written over.

    There is one more step than time steps: each begins with what came through R from the one before
    it, and the last ends there. Programs and tiles are as those of `grid_forward`; `weight`, of the
    transposed R, is (programs, PARTS, SHARES · FEATURES, CHUNKS · SPAN), and `vectors`, the
    gradients of R h, (2, all tiles, SHARES, PARTS, TILE, CHUNKS · SPAN), at first zeros.

    With more than one share a step has another stage before all others. In it a program multiplies
    its share of the gradients by the columns of all features of SHARES programs, and leaves that in
    `shares` (all tiles, programs, TILE, SHARES · FEATURES); then it adds up what those programs
    have left for its own features.

    With layer norm there are two more stages: that of the hidden state is followed by one for the
    gates, and one for R h. A program hands `d_emitted` (B, H) on to its own next stage, and
    `partials`, as in `grid_forward`, to all. `recurrent` (T, B, GH) and `cells_seen` (T, B, H) are
    R h and the new cell states, normalized; `of_recurrent` and `of_cells` (T, B) are one over their
    deviations.

    With a projection, see `grid_forward`, the stage of the hidden state ends with the gradient of
    what was projected, `d_new_h` (T, B, R). It is handed to all in `vectors_hr` (all tiles, PARTS,
    TILE, HR_CHUNKS · SPAN), and another stage begins with its product by the projection's columns
    of the program's units, `weight_hr` (programs, PARTS, UNITS, HR_CHUNKS · SPAN).
    """
    work: tl.constexpr = d_c.dtype.element_ty
    WIDTH: tl.constexpr = CHUNKS * SPAN
    OUTPUTS: tl.constexpr = SHARES * FEATURES
    CELL: tl.constexpr = STAGES - 1 if norm_hh is None else STAGES - 2
    EMITTED: tl.constexpr = CELL if norm_hh is None else CELL - 1
    HIDDEN: tl.constexpr = EMITTED if weight_hr is None else EMITTED - 1
    turns = tiles * STAGES  # of a step
    all_tiles = tl.num_programs(1).to(tl.int64) * tiles
    weight += tl.program_id(0).to(tl.int64) * (PARTS * OUTPUTS * WIDTH)
    rows = tl.arange(0, TILE)[:, None]
    units = tl.program_id(0) * UNITS + tl.arange(0, UNITS)[None, :]
    features = tl.program_id(0) * FEATURES + tl.arange(0, FEATURES)[None, :]
    of_block = tl.program_id(0) // SHARES * OUTPUTS  # the first of the features that it multiplies
    resident = slices(weight, HELD, PARTS * CHUNKS, OUTPUTS, CHUNKS)
    held = nothing(weight.dtype.element_ty, HELD, OUTPUTS)
    if weight_hr is not None:
        weight_hr += tl.program_id(0).to(tl.int64) * (PARTS * UNITS * HR_CHUNKS * SPAN)
        projection = slices(weight_hr, 0, PARTS * HR_CHUNKS, UNITS, HR_CHUNKS)
    i, f, g, o, cell, before, d_of_output = saved_step(
        gates, cells, c_0, d_output, lengths, start * tiles, turns, tiles, steps, B,
        rows, units, features, H, R, GATES, REVERSE, TILE, work,
    )  # fmt: skip
    if norm_hh is not None:
        n_i, n_f, n_g, n_o, of_seen, inverse, inverse_cell = saved_norms(
            recurrent, of_recurrent, of_cells, cells_seen, start * tiles, turns, tiles, steps, B,
            rows, units, H, GATES, REVERSE, TILE, work,
        )  # fmt: skip
    for turn in range(start * tiles, stop * tiles):  # each tile of each stage of each step
        if turn == start * tiles:
            held = slices(weight, 0, HELD, OUTPUTS, CHUNKS)
        stage = turn // tiles % STAGES
        step = turn // turns
        t = step_back(step, steps, REVERSE)
        later = step_back(tl.maximum(step - 1, 0), steps, REVERSE)
        place = (tl.program_id(1) * tiles + turn % tiles).to(tl.int64)
        first = place * TILE
        inside = (first + rows < B) & (units < H)
        is_step = inside & (step < steps)  # else it is the end, at the states that it started from
        at = first * H + rows * H + units
        inside_h = (first + rows < B) & (features < R)
        at_h = first * R + rows * R + features
        alive = None
        if lengths is not None:
            alive = t < row_lengths(lengths, B, first, rows)
        left_h = load(d_h, at_h, inside_h, work)
        left_c = load(d_c, at, inside, work)
        was_reset = row_flags(reset, t, B, first, rows)
        was_reset_later = row_flags(reset, later, B, first, rows)
        keeps_c = unit_flags(zoneout_cell_mask, t, B, first, rows, units, inside, H)
        keeps_h = unit_flags(zoneout_hidden_mask, t, B, first, rows, features, inside_h, R)

        seen = vectors + ((step % 2) * all_tiles + place) * (SHARES * PARTS * TILE * WIDTH)
        seen += (tl.program_id(0) % SHARES) * (PARTS * TILE * WIDTH)
        of_programs = place * tl.num_programs(0) + tl.program_id(0)
        of_gates = partials  # the first half is of the cell state's norm, the second of R h's
        if norm_hh is not None:
            of_gates += all_tiles * (2 * TILE * PROGRAMS)
        d_out = tl.zeros_like(left_c)
        d_i, d_f, d_g, d_o = d_out, d_out, d_out, d_out
        if SHARES > 1 and (stage == 0 and (weight_hr is None or of_block < R)):
            share = product(held, resident, seen, work, OUTPUTS, TILE, CHUNKS, PARTS, HELD, BATCH)
            leave_share(share, shares, of_programs, OUTPUTS, TILE)
        if STAGES == 1 or (
            stage == HIDDEN and (weight_hr is None or tl.program_id(0) * FEATURES < R)
        ):  # hidden state
            if SHARES == 1:
                through_r = tl.trans(
                    product(held, resident, seen, work, OUTPUTS, TILE, CHUNKS, PARTS, HELD, BATCH)
                )
            else:
                through_r = add_up_shares(shares, of_programs, rows, FEATURES, SHARES, TILE, work)
            left = handed_back(
                left_h, through_r, recurrent_mask, first, rows, features, inside_h, R
            )
            if reset is not None:
                was_real = step > 0
                if lengths is not None:
                    was_real = was_real & (later < row_lengths(lengths, B, first, rows))
                total = load(d_reset_h, at_h, inside_h, work)
                left, total = reset_backward(left, total, was_real, was_reset_later)
                tl.store(d_reset_h + at_h, total, mask=inside_h)
            d_hidden, d_old_h = hidden_step_backward(
                left, d_of_output, alive, keeps_h, ZONEOUT_HIDDEN
            )  # fmt: skip
            tl.store(d_h + at_h, tl.where(step < steps, d_old_h, left), mask=inside_h)
            if weight_hr is None:
                d_out = d_hidden
            else:
                written = of_step(d_new_h, t, B, first, R) + rows * R + features
                tl.store(written, d_hidden, mask=inside_h & (step < steps))
                through = vectors_hr + place * (PARTS * TILE * HR_CHUNKS * SPAN)
                hand_over(d_hidden, through, rows, features, inside_h, TILE, HR_CHUNKS, PARTS)
        if STAGES == 1 or stage == EMITTED:
            if weight_hr is not None:
                through = vectors_hr + place * (PARTS * TILE * HR_CHUNKS * SPAN)
                d_out = tl.trans(
                    product(
                        (), projection, through, work, UNITS, TILE, HR_CHUNKS, PARTS, 0, HR_BATCH
                    )
                )
            if norm_hh is not None:
                tl.store(d_emitted + at, d_out, mask=inside)
                d_of_seen, _ = seen_backward(
                    d_out, o, of_seen, norm_cell, norm_cell_bias, units, H
                )  # fmt: skip
                written = of_step(d_seen, t, B, first, H) + rows * H + units
                tl.store(written, d_of_seen, mask=is_step)
                d_of_seen *= load(norm_cell, units, units < H, work)
                total, along = row_sum(d_of_seen), row_sum(d_of_seen * of_seen)
                leave_numbers(total, along, partials, place, rows, TILE, PROGRAMS)
        if STAGES == 1 or stage == CELL:  # cell state and gates
            i, old_c, unclipped, seen_c = cell_again(
                i, f, g, cell, before, was_reset, keeps_c, reset_c, first, rows, units, inside,
                H, GATES, CLIP, ZONEOUT_CELL,
            )  # fmt: skip
            if norm_hh is not None:
                seen_c = of_seen
                d_out = load(d_emitted, at, inside, work)
            d_of_c, tanh_seen = seen_backward(
                d_out, o, seen_c, norm_cell, norm_cell_bias, units, H
            )  # fmt: skip
            if norm_hh is not None:
                d_of_c *= load(norm_cell, units, units < H, work)
                total, along = sums_of_all(partials, place, rows, TILE, UNITS, PROGRAMS)
                d_of_c = norm_backward(d_of_c, of_seen, inverse_cell, total, along, H)
            d_i, d_f, d_g, d_o, d_old_c = gates_step_backward(
                d_out, tanh_seen, d_of_c, left_c, i, f, g, o, old_c, unclipped, alive, keeps_c,
                d_gates, d_cells, d_z, peephole, t, B, first, rows, units, is_step,
                H, GATES, CLIP, ZONEOUT_CELL,
            )  # fmt: skip
            if reset is not None:
                total_c = load(d_reset_c, at, inside, work)
                d_old_c, total_c = reset_backward(d_old_c, total_c, alive, was_reset)
                tl.store(d_reset_c + at, total_c, mask=is_step)
            tl.store(d_c + at, d_old_c, mask=is_step)
            if norm_hh is not None:
                d_i, d_f, d_g, d_o = times_gain(d_i, d_f, d_g, d_o, norm_hh, units, H, GATES)
                if GATES == 3:
                    d_i = tl.zeros_like(d_f)
                total, along = gates_norm_sums(d_i, d_f, d_g, d_o, n_i, n_f, n_g, n_o)
                leave_numbers(total, along, of_gates, place, rows, TILE, PROGRAMS)
        if STAGES == 1 or stage == STAGES - 1:  # R h
            if norm_hh is not None:
                written = of_step(d_z, t, B, first, GATES * H)
                d_i, d_f, d_g, d_o = load_gates(written, rows, units, is_step, H, GATES, work)
                d_i, d_f, d_g, d_o = times_gain(d_i, d_f, d_g, d_o, norm_hh, units, H, GATES)
                total, along = sums_of_all(of_gates, place, rows, TILE, UNITS, PROGRAMS)
                d_i, d_f, d_g, d_o = gates_norm_backward(
                    d_i, d_f, d_g, d_o, n_i, n_f, n_g, n_o, inverse, total, along, GATES * H
                )
                written = of_step(d_recurrent, t, B, first, GATES * H)
                store_gates(written, d_i, d_f, d_g, d_o, rows, units, is_step, H, GATES)
            seen = vectors + ((step + 1) % 2 * all_tiles + place) * (SHARES * PARTS * TILE * WIDTH)
            of_f = (GATES - 3) * H + units
            hand_over(d_f, seen, rows, of_f, inside, TILE, CHUNKS, PARTS)
            hand_over(d_g, seen, rows, of_f + H, inside, TILE, CHUNKS, PARTS)
            hand_over(d_o, seen, rows, of_f + 2 * H, inside, TILE, CHUNKS, PARTS)
            if GATES == 4:
                hand_over(d_i, seen, rows, units, inside, TILE, CHUNKS, PARTS)
        ends = (turn + 1) % tiles == 0 and turn + 1 < stop * tiles
        if ends:
            arrive(arrived + tl.program_id(1))
        # What the next turn needs from far is on its way while the program waits.
        ahead = tl.minimum(turn + 1, stop * tiles - 1)
        i, f, g, o, cell, before, d_of_output = saved_step(
            gates, cells, c_0, d_output, lengths, ahead, turns, tiles, steps, B,
            rows, units, features, H, R, GATES, REVERSE, TILE, work,
        )  # fmt: skip
        if norm_hh is not None:
            n_i, n_f, n_g, n_o, of_seen, inverse, inverse_cell = saved_norms(
                recurrent, of_recurrent, of_cells, cells_seen, ahead, turns, tiles, steps, B,
                rows, units, H, GATES, REVERSE, TILE, work,
            )  # fmt: skip
        if ends:
            expected = ((turn + 1) // tiles - start) * tl.num_programs(0)
            wait_for_all(arrived + tl.program_id(1), expected)
