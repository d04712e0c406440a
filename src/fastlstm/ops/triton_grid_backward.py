"""The backward kernel of the back end "triton-grid".

A program has the columns of R for its units. If it reads the gradients of all gates, the floor of a
step is that of the forward kernel with GATES times as much through the second-level cache: with 64
rows and 1,024 units 33 MB in 16 bits, 6 µs on an H100, and 200 MB or 36 µs in float32, whose
programs have half as many units, and three parts of each number. Where that is more than a barrier
takes, a program reads a quarter, has the columns of four times as many units, and the shares of
each sum are added up after a second barrier: 1.5 and 9 µs, and B · H · 32 bytes for the shares
(2 MB there). What is read of the forward pass and written takes less, B · H · 40 bytes from and to
memory, and overlaps. Layer norm has a program wait twice more, see `triton_grid_norm.py`, and read
in each of three stages what it needs of B · H · 130 bytes: R h and the new cell states normalized,
which torch does for all steps at once, and its own gradients of the stage before.
"""

# To a type checker a kernel's function raises, as it does when it is called from outside of one.
# pyright: reportGeneralTypeIssues=false

import triton
import triton.language as tl

from fastlstm.ops.triton_cell import (
    after_reset,
    clipped,
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
    gates_norm_backward,
    gates_norm_sums,
    gates_step_backward,
    handed_back,
    hidden_step_backward,
    load_cell_before,
    norm_backward,
    reset_backward,
    seen_backward,
)
from fastlstm.ops.triton_grid_norm import leave_numbers, sums_of_all
from fastlstm.ops.triton_grid_product import (
    SPAN,
    arrive,
    hand_over,
    nothing,
    product,
    slices,
    wait_for_all,
)


@triton.jit
def _saved(
    gates, cells, c_0, d_output, lengths, turn, turns, tiles, steps, B, rows, units,
    H: tl.constexpr, GATES: tl.constexpr, REVERSE: tl.constexpr, TILE: tl.constexpr,
    work: tl.constexpr,
):  # fmt: skip
    """What a turn reads of the forward pass and of the gradients; a step has so many `turns`."""
    t = _step_of(turn // turns, steps, REVERSE)
    first = (tl.program_id(1) * tiles + turn % tiles).to(tl.int64) * TILE
    inside = (first + rows < B) & (units < H)
    at = rows * H + units
    of_gates = of_step(gates, t, B, first, GATES * H)
    i, f, g, o = load_gates(of_gates, rows, units, inside, H, GATES, work)
    cell = load(of_step(cells, t, B, first, H), at, inside, work)
    before = load_cell_before(
        cells, c_0, lengths, t, steps, B, first, rows, units, inside, H, REVERSE, work
    )
    d_of_output = tl.zeros_like(cell)
    if d_output is not None:
        d_of_output = load(of_step(d_output, t, B, first, H), at, inside, work)
    return i, f, g, o, cell, before, d_of_output


@triton.jit
def _saved_norms(
    recurrent, of_recurrent, of_cells, cells_seen, turn, turns, tiles, steps, B, rows, units,
    H: tl.constexpr, GATES: tl.constexpr, REVERSE: tl.constexpr, TILE: tl.constexpr,
    work: tl.constexpr,
):  # fmt: skip
    """What a turn reads of both layer norms: the normalized values, and one over the deviations."""
    t = _step_of(turn // turns, steps, REVERSE)
    first = (tl.program_id(1) * tiles + turn % tiles).to(tl.int64) * TILE
    there = first + rows < B
    inside = there & (units < H)
    of_gates = of_step(recurrent, t, B, first, GATES * H)
    n_i, n_f, n_g, n_o = load_gates(of_gates, rows, units, inside, H, GATES, work)
    of_seen = load(of_step(cells_seen, t, B, first, H), rows * H + units, inside, work)
    inverse = load(of_step(of_recurrent, t, B, first, 1), rows, there, work)
    inverse_cell = load(of_step(of_cells, t, B, first, 1), rows, there, work)
    return n_i, n_f, n_g, n_o, of_seen, inverse, inverse_cell


@triton.jit
def _step_of(step, steps, REVERSE: tl.constexpr):
    """The time step of a step of the way back; one that there is for the last of these too."""
    t = tl.maximum(steps - 1 - step, 0)
    if REVERSE:
        t = tl.minimum(step, steps - 1)
    return t


@triton.jit
def _leave(share, shares, of_programs, OUTPUTS: tl.constexpr, TILE: tl.constexpr):
    """Write a program's share (OUTPUTS, TILE) of the sums of a tile."""
    rows = tl.arange(0, TILE)[:, None]
    at = rows * OUTPUTS + tl.arange(0, OUTPUTS)[None, :]
    tl.store(shares + of_programs * (TILE * OUTPUTS) + at, tl.trans(share))


@triton.jit
def _add_up(
    shares, of_programs, rows, UNITS: tl.constexpr, SHARES: tl.constexpr, TILE: tl.constexpr,
    work: tl.constexpr,
):  # fmt: skip
    """The sums (TILE, UNITS) of a program's own units, from all their shares."""
    number = tl.program_id(0) % SHARES
    at = rows * (SHARES * UNITS) + number * UNITS + tl.arange(0, UNITS)[None, :]
    found = tl.zeros((TILE, UNITS), work)
    for other in tl.static_range(SHARES):
        of_other = shares + (of_programs - number + other) * (TILE * SHARES * UNITS)
        found += tl.load(of_other + at, cache_modifier=".cg")
    return found


@triton.jit(do_not_specialize=["start", "stop", "steps", "tiles", "B"])
def grid_backward(
    weight, vectors, shares, partials, d_emitted, arrived,
    d_h, d_c, d_reset_h, d_reset_c, d_z, d_recurrent, d_seen,
    d_output, d_gates, d_cells, gates, cells, c_0, recurrent, of_recurrent, of_cells, cells_seen,
    peephole, norm_hh, norm_cell, norm_cell_bias, lengths, reset, reset_c,
    recurrent_mask, zoneout_cell_mask, zoneout_hidden_mask,
    start, stop, steps, tiles, B,
    H: tl.constexpr, GATES: tl.constexpr, CLIP: tl.constexpr, ZONEOUT_CELL: tl.constexpr,
    ZONEOUT_HIDDEN: tl.constexpr, REVERSE: tl.constexpr,
    UNITS: tl.constexpr, TILE: tl.constexpr, CHUNKS: tl.constexpr, PARTS: tl.constexpr,
    HELD: tl.constexpr, BATCH: tl.constexpr, SHARES: tl.constexpr, PROGRAMS: tl.constexpr,
    STAGES: tl.constexpr,
):  # fmt: skip
    """The stages from `start` to `stop` of the way back; the states' gradients are written over.

    There is one more step than time steps: each begins with what came through R from the one before
    it, and the last ends there. Programs and tiles are as those of `grid_forward`; `weight`, of the
    transposed R, is (programs, PARTS, SHARES · UNITS, CHUNKS · SPAN), and `vectors`, the gradients
    of R h, (2, all tiles, SHARES, PARTS, TILE, CHUNKS · SPAN), at first zeros.

    With more than one share a step has another stage before all others. In it a program multiplies
    its share of the gradients by the columns of all units of SHARES programs, and leaves that in
    `shares` (all tiles, programs, TILE, SHARES · UNITS); then it adds up what those programs have
    left for its own units.

    With layer norm there are two more stages: that of the hidden state is followed by one for the
    gates, and one for R h. A program hands `d_emitted` (B, H) on to its own next stage, and
    `partials`, as in `grid_forward`, to all. `recurrent` (T, B, GH) and `cells_seen` (T, B, H) are
    R h and the new cell states, normalized; `of_recurrent` and `of_cells` (T, B) are one over their
    deviations.
    """
    work: tl.constexpr = d_c.dtype.element_ty
    WIDTH: tl.constexpr = CHUNKS * SPAN
    OUTPUTS: tl.constexpr = SHARES * UNITS
    CELL: tl.constexpr = STAGES - 1 if norm_hh is None else STAGES - 2
    HIDDEN: tl.constexpr = CELL if norm_hh is None else CELL - 1
    turns = tiles * STAGES  # of a step
    all_tiles = tl.num_programs(1).to(tl.int64) * tiles
    weight += tl.program_id(0).to(tl.int64) * (PARTS * OUTPUTS * WIDTH)
    rows = tl.arange(0, TILE)[:, None]
    units = tl.program_id(0) * UNITS + tl.arange(0, UNITS)[None, :]
    resident = slices(weight, HELD, PARTS * CHUNKS, OUTPUTS, CHUNKS)
    held = nothing(weight.dtype.element_ty, HELD, OUTPUTS)
    i, f, g, o, cell, before, d_of_output = _saved(
        gates, cells, c_0, d_output, lengths, start * tiles, turns, tiles, steps, B,
        rows, units, H, GATES, REVERSE, TILE, work,
    )  # fmt: skip
    if norm_hh is not None:
        n_i, n_f, n_g, n_o, of_seen, inverse, inverse_cell = _saved_norms(
            recurrent, of_recurrent, of_cells, cells_seen, start * tiles, turns, tiles, steps, B,
            rows, units, H, GATES, REVERSE, TILE, work,
        )  # fmt: skip
    for turn in range(start * tiles, stop * tiles):  # each tile of each stage of each step
        if turn == start * tiles:
            held = slices(weight, 0, HELD, OUTPUTS, CHUNKS)
        stage = turn // tiles % STAGES
        step = turn // turns
        t = _step_of(step, steps, REVERSE)
        later = _step_of(tl.maximum(step - 1, 0), steps, REVERSE)
        place = (tl.program_id(1) * tiles + turn % tiles).to(tl.int64)
        first = place * TILE
        inside = (first + rows < B) & (units < H)
        is_step = inside & (step < steps)  # else it is the end, at the states that it started from
        at = first * H + rows * H + units
        alive = None
        if lengths is not None:
            alive = t < row_lengths(lengths, B, first, rows)
        left_h = load(d_h, at, inside, work)
        left_c = load(d_c, at, inside, work)
        was_reset = row_flags(reset, t, B, first, rows)
        was_reset_later = row_flags(reset, later, B, first, rows)
        keeps_c = unit_flags(zoneout_cell_mask, t, B, first, rows, units, inside, H)
        keeps_h = unit_flags(zoneout_hidden_mask, t, B, first, rows, units, inside, H)

        seen = vectors + ((step % 2) * all_tiles + place) * (SHARES * PARTS * TILE * WIDTH)
        seen += (tl.program_id(0) % SHARES) * (PARTS * TILE * WIDTH)
        of_programs = place * tl.num_programs(0) + tl.program_id(0)
        of_gates = partials  # the first half is of the cell state's norm, the second of R h's
        if norm_hh is not None:
            of_gates += all_tiles * (2 * TILE * PROGRAMS)
        d_new_h = tl.zeros_like(left_h)
        d_i, d_f, d_g, d_o = d_new_h, d_new_h, d_new_h, d_new_h
        if SHARES > 1 and stage == 0:
            share = product(held, resident, seen, work, OUTPUTS, TILE, CHUNKS, PARTS, HELD, BATCH)
            _leave(share, shares, of_programs, OUTPUTS, TILE)
        if STAGES == 1 or stage == HIDDEN:  # hidden state
            if SHARES == 1:
                through_r = tl.trans(
                    product(held, resident, seen, work, OUTPUTS, TILE, CHUNKS, PARTS, HELD, BATCH)
                )
            else:
                through_r = _add_up(shares, of_programs, rows, UNITS, SHARES, TILE, work)
            left = handed_back(left_h, through_r, recurrent_mask, first, rows, units, inside, H)
            if reset is not None:
                was_real = step > 0
                if lengths is not None:
                    was_real = was_real & (later < row_lengths(lengths, B, first, rows))
                total = load(d_reset_h, at, inside, work)
                left, total = reset_backward(left, total, was_real, was_reset_later)
                tl.store(d_reset_h + at, total, mask=inside)
            d_new_h, d_old_h = hidden_step_backward(
                left, d_of_output, alive, keeps_h, ZONEOUT_HIDDEN
            )  # fmt: skip
            tl.store(d_h + at, tl.where(step < steps, d_old_h, left), mask=inside)
            if norm_hh is not None:
                tl.store(d_emitted + at, d_new_h, mask=inside)
                d_of_seen, _ = seen_backward(
                    d_new_h, o, of_seen, norm_cell, norm_cell_bias, units, H
                )  # fmt: skip
                written = of_step(d_seen, t, B, first, H) + rows * H + units
                tl.store(written, d_of_seen, mask=is_step)
                d_of_seen *= load(norm_cell, units, units < H, work)
                leave_numbers(
                    row_sum(d_of_seen),
                    row_sum(d_of_seen * of_seen),
                    partials,
                    place,
                    rows,
                    TILE,
                    PROGRAMS,
                )
        if STAGES == 1 or stage == CELL:  # cell state and gates
            if GATES == 3:
                i = 1 - f
            old_c = after_reset(before, was_reset, reset_c, first, rows, units, inside, H)
            unclipped = f * old_c + i * g
            seen_c = cell
            if keeps_c is not None or ZONEOUT_CELL != 0:
                seen_c = clipped(unclipped, CLIP)
            if norm_hh is not None:
                seen_c = of_seen
                d_new_h = load(d_emitted, at, inside, work)
            d_of_c, tanh_seen = seen_backward(
                d_new_h, o, seen_c, norm_cell, norm_cell_bias, units, H
            )  # fmt: skip
            if norm_hh is not None:
                d_of_c *= load(norm_cell, units, units < H, work)
                total, along = sums_of_all(partials, place, rows, TILE, UNITS, PROGRAMS)
                d_of_c = norm_backward(d_of_c, of_seen, inverse_cell, total, along, H)
            d_i, d_f, d_g, d_o, d_old_c = gates_step_backward(
                d_new_h, tanh_seen, d_of_c, left_c, i, f, g, o, old_c, unclipped, alive, keeps_c,
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
        i, f, g, o, cell, before, d_of_output = _saved(
            gates, cells, c_0, d_output, lengths, ahead, turns, tiles, steps, B,
            rows, units, H, GATES, REVERSE, TILE, work,
        )  # fmt: skip
        if norm_hh is not None:
            n_i, n_f, n_g, n_o, of_seen, inverse, inverse_cell = _saved_norms(
                recurrent, of_recurrent, of_cells, cells_seen, ahead, turns, tiles, steps, B,
                rows, units, H, GATES, REVERSE, TILE, work,
            )  # fmt: skip
        if ends:
            expected = ((turn + 1) // tiles - start) * tl.num_programs(0)
            wait_for_all(arrived + tl.program_id(1), expected)
