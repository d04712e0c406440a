"""The forward kernel of the back end "triton-grid".

The floor of a step is its barrier, see `triton_grid_product.py`, and one after another

- what R sees of the rows of a group, 2 · PARTS bytes for each of their units, through the
  second-level cache to each of the group's programs: with 64 rows and 1,024 units in 16 bits 8 MB
  in all, at 5.5 TB/s on an H100 1.5 µs;
- the product, B · GH · H, with PARTS (PARTS + 1) / 2 of them: 0.9 µs there, at the 600 TFLOP/s of
  the instructions that take weights from registers; weights from shared memory come at 128 bytes a
  clock, once for each tile: 0.6 µs for 128 KB.

Reading W x + b and writing the outputs takes less, B · H · 30 bytes from and to memory (0.6 µs
there), and overlaps with the rest. Layer norm has a program wait twice more, see
`triton_grid_norm.py`, and read again what it left to itself, B · H · 48 bytes.

A projection to R features has it wait once more. H terms go to the programs that have features, and
R terms to all: with 64 rows, 1,024 units and 512 features 4 MB each in 16 bits, which together is
what h of all units takes without one. Its weights stay in shared memory, 32 KB there, and come at
128 bytes a clock once for each tile, 0.3 µs for two.
"""

# To a type checker a kernel's function raises, as it does when it is called from outside of one.
# pyright: reportGeneralTypeIssues=false

import triton
import triton.language as tl

from fastlstm.ops.triton_cell import (
    centred,
    centred_gates,
    gates_step,
    hidden_step,
    load,
    load_gates,
    of_step,
    row_flags,
    row_lengths,
    seen_by_output,
    seen_by_recurrent,
    store_gates,
    tanh,
    times_gain,
    unit_flags,
)
from fastlstm.ops.triton_grid_norm import leave_moments, leave_moments_of_gates, statistics
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
def _by_gate(z, UNITS: tl.constexpr, TILE: tl.constexpr):
    """(4 · UNITS, TILE) as four values of (TILE, UNITS)."""
    z = tl.permute(tl.reshape(z, (2, 2, UNITS, TILE)), (3, 2, 0, 1))
    even, odd = tl.split(z)
    i, g = tl.split(even)
    f, o = tl.split(odd)
    return i, f, g, o


@triton.jit
def _inputs(
    gates_x, turn, tiles, steps, B, rows, units, H: tl.constexpr, GATES: tl.constexpr,
    REVERSE: tl.constexpr, TILE: tl.constexpr, STAGES: tl.constexpr, CELL: tl.constexpr,
    work: tl.constexpr,
):  # fmt: skip
    """W x + b of each gate, for the program's tile and step in that turn, if it reads them."""
    t = turn // tiles // STAGES
    if REVERSE:
        t = steps - 1 - t
    first = (tl.program_id(1) * tiles + turn % tiles).to(tl.int64) * TILE
    inside = (first + rows < B) & (units < H)
    if STAGES > 1:
        inside = inside & (turn // tiles % STAGES == CELL)
    of_gates = of_step(gates_x, t, B, first, GATES * H)
    return load_gates(of_gates, rows, units, inside, H, GATES, work)


@triton.jit(do_not_specialize=["start", "stop", "steps", "tiles", "every", "B"])
def grid_forward(
    weight, vectors, weight_hr, vectors_hr, partials, recurrent, new_cells, output_gates, arrived,
    gates_x, h, c, output, gates, cells, starts,
    peephole, norm_hh, norm_cell, norm_cell_bias, lengths, reset, reset_h, reset_c,
    recurrent_mask, zoneout_cell_mask, zoneout_hidden_mask,
    start, stop, steps, tiles, every, B,
    H: tl.constexpr, R: tl.constexpr, GATES: tl.constexpr, EPSILON: tl.constexpr,
    CLIP: tl.constexpr, ZONEOUT_CELL: tl.constexpr, ZONEOUT_HIDDEN: tl.constexpr,
    REVERSE: tl.constexpr, UNITS: tl.constexpr, FEATURES: tl.constexpr, TILE: tl.constexpr,
    CHUNKS: tl.constexpr, PARTS: tl.constexpr, HELD: tl.constexpr, BATCH: tl.constexpr,
    HR_CHUNKS: tl.constexpr, HR_BATCH: tl.constexpr, PROGRAMS: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """The stages from `start` to `stop` in the order of the scan; the states are written over.

    Program (p, g) has the units from p · UNITS on and, of the batch, the g-th `tiles` tiles of TILE
    rows. `weight` is (programs, PARTS, 4 · UNITS, CHUNKS · SPAN), with the gates one after another;
    `vectors`, what R sees of h, is (2, all tiles, PARTS, TILE, CHUNKS · SPAN), of which even steps
    read the first half and write the second. `arrived` has a zero for each g. Where given, `starts`
    takes the cell state before each `every`-th step.

    A step has one of STAGES. With layer norm it has three, for R h, the gates and the hidden state,
    and each has a turn for each tile. What a program hands on to its own next stage is in
    `recurrent` (B, GH), `new_cells` and `output_gates` (B, H); `partials`, (2, all tiles, 2,
    TILE, PROGRAMS), has what it hands to all.

    With a projection, to R features, the hidden state has a stage of its own, the last: what goes
    into it is handed to all in `vectors_hr` (all tiles, PARTS, TILE, HR_CHUNKS · SPAN), and program
    (p, g) has FEATURES features, from p · FEATURES on: there may be none. Their weights are
    `weight_hr` (programs, PARTS, FEATURES, HR_CHUNKS · SPAN). Else features are units.
    """
    work: tl.constexpr = c.dtype.element_ty
    OUTPUTS: tl.constexpr = 4 * UNITS
    WIDTH: tl.constexpr = CHUNKS * SPAN
    EMITTED: tl.constexpr = STAGES - 1 if weight_hr is None else STAGES - 2
    CELL: tl.constexpr = EMITTED if norm_hh is None else EMITTED - 1
    all_tiles = tl.num_programs(1).to(tl.int64) * tiles
    weight += tl.program_id(0).to(tl.int64) * (PARTS * OUTPUTS * WIDTH)
    rows = tl.arange(0, TILE)[:, None]
    units = tl.program_id(0) * UNITS + tl.arange(0, UNITS)[None, :]
    features = tl.program_id(0) * FEATURES + tl.arange(0, FEATURES)[None, :]
    resident = slices(weight, HELD, PARTS * CHUNKS, OUTPUTS, CHUNKS)
    held = nothing(weight.dtype.element_ty, HELD, OUTPUTS)
    if weight_hr is not None:
        weight_hr += tl.program_id(0).to(tl.int64) * (PARTS * FEATURES * HR_CHUNKS * SPAN)
        projection = slices(weight_hr, 0, PARTS * HR_CHUNKS, FEATURES, HR_CHUNKS)
    x_i, x_f, x_g, x_o = _inputs(
        gates_x, start * tiles, tiles, steps, B, rows, units, H, GATES, REVERSE, TILE,
        STAGES, CELL, work,
    )  # fmt: skip
    for turn in range(start * tiles, stop * tiles):  # each tile of each stage of each step
        if turn == start * tiles:
            held = slices(weight, 0, HELD, OUTPUTS, CHUNKS)
        stage = turn // tiles % STAGES
        step = turn // tiles // STAGES
        t = step
        following = tl.minimum(step + 1, steps - 1)
        if REVERSE:
            t = steps - 1 - step
            following = steps - 1 - following
        place = (tl.program_id(1) * tiles + turn % tiles).to(tl.int64)
        first = place * TILE
        inside = (first + rows < B) & (units < H)
        of_tile = rows * H + units
        at = first * H + of_tile
        inside_h = (first + rows < B) & (features < R)
        at_h = first * R + (rows * R + features)
        alive = None
        if lengths is not None:
            alive = t < row_lengths(lengths, B, first, rows)
        # Read here, they come while the product is made.
        before_c = load(c, at, inside, work)
        before_h = load(h, at_h, inside_h, work)
        was_reset = row_flags(reset, t, B, first, rows)
        will_be_reset = row_flags(reset, following, B, first, rows)
        keeps_c = unit_flags(zoneout_cell_mask, t, B, first, rows, units, inside, H)
        keeps_h = unit_flags(zoneout_hidden_mask, t, B, first, rows, features, inside_h, R)

        r_i, r_f, r_g, r_o = x_i, x_f, x_g, x_o
        of_seen, o, new_h = before_c, before_c, before_h
        if STAGES == 1 or stage == 0:  # R h
            seen = vectors + ((step % 2) * all_tiles + place) * (PARTS * TILE * WIDTH)
            z = product(held, resident, seen, work, OUTPUTS, TILE, CHUNKS, PARTS, HELD, BATCH)
            r_i, r_f, r_g, r_o = _by_gate(z, UNITS, TILE)
            if norm_hh is not None:
                of_gates = recurrent + first * (GATES * H)
                store_gates(of_gates, r_i, r_f, r_g, r_o, rows, units, inside, H, GATES)
                leave_moments_of_gates(
                    r_i, r_f, r_g, r_o, partials, place, rows, inside,
                    H, GATES, UNITS, TILE, PROGRAMS,
                )  # fmt: skip
        if STAGES == 1 or stage == CELL:  # gates and cell state
            if norm_hh is not None:
                of_gates = recurrent + first * (GATES * H)
                r_i, r_f, r_g, r_o = load_gates(of_gates, rows, units, inside, H, GATES, work)
                mean, inverse = statistics(
                    partials, place, rows, GATES, H, UNITS, TILE, PROGRAMS, EPSILON
                )
                r_i, r_f, r_g, r_o, _ = centred_gates(r_i, r_f, r_g, r_o, mean, inside, GATES)
                r_i, r_f, r_g, r_o = times_gain(
                    r_i * inverse, r_f * inverse, r_g * inverse, r_o * inverse,
                    norm_hh, units, H, GATES,
                )  # fmt: skip
            if starts is not None:
                begins = t % every == 0
                if REVERSE:
                    begins = (t == steps - 1) | ((t + 1) % every == 0)
                of_start = of_step(starts, t // every, B, first, H)
                tl.store(of_start + of_tile, before_c, mask=inside & begins)
            state, of_seen, o = gates_step(
                x_i, x_f, x_g, x_o, r_i, r_f, r_g, r_o, before_c, alive, was_reset, keeps_c,
                gates, cells, peephole, reset_c, t, B, first, rows, units, inside,
                H, GATES, CLIP, ZONEOUT_CELL,
            )  # fmt: skip
            tl.store(c + at, state, mask=inside)
            if norm_hh is not None:
                tl.store(new_cells + at, of_seen, mask=inside)
                tl.store(output_gates + at, o, mask=inside)
                of_cells = partials + all_tiles * (2 * TILE * PROGRAMS)
                leave_moments(of_seen, of_cells, place, rows, inside, H, UNITS, TILE, PROGRAMS)
        if STAGES == 1 or stage == EMITTED:
            if norm_hh is not None:
                of_seen = load(new_cells, at, inside, work)
                o = load(output_gates, at, inside, work)
                of_cells = partials + all_tiles * (2 * TILE * PROGRAMS)
                mean, inverse = statistics(
                    of_cells, place, rows, 1, H, UNITS, TILE, PROGRAMS, EPSILON
                )
                of_seen = centred(of_seen, mean, inside) * inverse
            lets_out = o * tanh(seen_by_output(of_seen, norm_cell, norm_cell_bias, units, H))
            if weight_hr is None:
                new_h = lets_out
            else:
                into = vectors_hr + place * (PARTS * TILE * HR_CHUNKS * SPAN)
                hand_over(lets_out, into, rows, units, inside, TILE, HR_CHUNKS, PARTS)
        if STAGES == 1 or (
            stage == STAGES - 1 and (weight_hr is None or tl.program_id(0) * FEATURES < R)
        ):  # hidden state
            if weight_hr is not None:
                into = vectors_hr + place * (PARTS * TILE * HR_CHUNKS * SPAN)
                new_h = tl.trans(
                    product(
                        (), projection, into, work, FEATURES, TILE, HR_CHUNKS, PARTS, 0, HR_BATCH
                    )
                )
            new_h = hidden_step(
                new_h, before_h, alive, was_reset, keeps_h, output, reset_h,
                t, B, first, rows, features, inside_h, R, ZONEOUT_HIDDEN,
            )  # fmt: skip
            tl.store(h + at_h, new_h, mask=inside_h)
            new_h = seen_by_recurrent(
                new_h, will_be_reset, reset_h, recurrent_mask, first, rows, features, inside_h, R
            )
            seen = vectors + (((step + 1) % 2) * all_tiles + place) * (PARTS * TILE * WIDTH)
            hand_over(new_h, seen, rows, features, inside_h, TILE, CHUNKS, PARTS)
        ends = (turn + 1) % tiles == 0 and turn + 1 < stop * tiles
        if ends:
            arrive(arrived + tl.program_id(1))
        # What the next turn needs from far is on its way while the program waits.
        ahead = tl.minimum(turn + 1, stop * tiles - 1)
        x_i, x_f, x_g, x_o = _inputs(
            gates_x, ahead, tiles, steps, B, rows, units, H, GATES, REVERSE, TILE,
            STAGES, CELL, work,
        )  # fmt: skip
        if ends:
            expected = ((turn + 1) // tiles - start) * tl.num_programs(0)
            wait_for_all(arrived + tl.program_id(1), expected)
