"""The forward kernel of the back end "triton-small": all time steps of some rows in one launch.

A program has a tile of rows and all units. R, all gates of it, is loaded before the loop over time
and stays in the processor's shared memory; h and c are values that one step hands to the next.
Products are made transposed, R by hᵀ: a tile of eight rows then fills the eight columns that the
matrix units of a GPU have at least, and R the rows, so that few rows cost the least.

The floor of a step, on an H100: R is read from shared memory once, 4 H² numbers at 128 bytes a
cycle (0.6 µs for H = 128 in 16 bits, 0.15 µs for 64; 0.4 µs for 64 in float32, of which each is
three bfloat16 numbers), h goes from all warps to all warps through it (two barriers, some 0.1 µs),
and exponentials and divisions of the gates take some 0.1 µs. Of the device's memory a step reads
and writes its own part alone, and W x + b of the next step is under way meanwhile. Above the floor
are the other barriers of the compiled loop, 10 in inference and 20 in training, which Triton needs
to bring what is loaded and stored into the layout of the product, and back.
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


@triton.jit
def weight_tile(weight, ROWS: tl.constexpr, COLUMNS: tl.constexpr, HEIGHT: tl.constexpr,
                WIDTH: tl.constexpr):  # fmt: skip
    """A matrix of ROWS by COLUMNS, with zeros around it up to HEIGHT by WIDTH."""
    rows = tl.arange(0, HEIGHT)[:, None]
    columns = tl.arange(0, WIDTH)[None, :]
    inside = (rows < ROWS) & (columns < COLUMNS)
    return tl.load(weight + rows * COLUMNS + columns, mask=inside, other=0.0)


@triton.jit
def gate_weights(
    weight_hh, H: tl.constexpr, FEATURES: tl.constexpr, GATES: tl.constexpr, BLOCK_H: tl.constexpr,
    BLOCK_F: tl.constexpr,
):  # fmt: skip
    """The part of R (GH, FEATURES) of each gate; of i that of f where the gates are coupled."""
    size: tl.constexpr = H * FEATURES
    of_f = weight_hh + (GATES - 3) * size
    f = weight_tile(of_f, H, FEATURES, BLOCK_H, BLOCK_F)
    g = weight_tile(of_f + size, H, FEATURES, BLOCK_H, BLOCK_F)
    o = weight_tile(of_f + 2 * size, H, FEATURES, BLOCK_H, BLOCK_F)
    i = weight_tile(weight_hh, H, FEATURES, BLOCK_H, BLOCK_F) if GATES == 4 else f
    return i, f, g, o


@triton.jit
def product(weight, x, PRECISION: tl.constexpr):
    """``x weightᵀ`` for the rows of x: factors in the weight's dtype, sums in at least 32 bits."""
    factor = tl.trans(x.to(weight.dtype))
    return tl.trans(tl.dot(weight, factor, input_precision=PRECISION))


@triton.jit
def longest_of(lengths, steps, B, first, rows):
    """How many steps there are until all rows of a program have ended."""
    longest = steps
    if lengths is not None:
        of_rows = tl.max(tl.max(row_lengths(lengths, B, first, rows), axis=1), axis=0)
        longest = tl.minimum(of_rows.to(tl.int32), steps)
    return longest


@triton.jit
def _keep_unreached(
    chunks, c, steps, longest, B, first, rows, units, inside, H: tl.constexpr,
    SAVE_EVERY: tl.constexpr, REVERSE: tl.constexpr,
):  # fmt: skip
    """Write the state that starts each chunk at whose first step no row is alive.

    On the way back in time the last chunk is one of them in any case, as it may have fewer steps.
    """
    begin = longest // SAVE_EVERY if REVERSE else tl.cdiv(longest, SAVE_EVERY)
    for chunk in range(begin, tl.cdiv(steps, SAVE_EVERY)):
        tl.store(of_step(chunks, chunk, B, first, H) + rows * H + units, c, mask=inside)


@triton.jit
def _keep_start(
    chunks, c, t, B, first, rows, units, inside, H: tl.constexpr,
    SAVE_EVERY: tl.constexpr, REVERSE: tl.constexpr,
):  # fmt: skip
    """Write the state before step t if that starts a chunk."""
    starts = (t + 1 if REVERSE else t) % SAVE_EVERY == 0
    at = of_step(chunks, t // SAVE_EVERY, B, first, H) + rows * H + units
    tl.store(at, c, mask=inside & starts)


@triton.jit(do_not_specialize=["steps", "B"])
def forward(
    gates_x, weight_hh, weight_hr, h, c, output, gates, cells, chunks,
    peephole, norm_hh, norm_cell, norm_cell_bias, lengths, reset, reset_h, reset_c,
    recurrent_mask, zoneout_cell_mask, zoneout_hidden_mask,
    steps, B, H: tl.constexpr, FEATURES: tl.constexpr, GATES: tl.constexpr,
    EPSILON: tl.constexpr, CLIP: tl.constexpr, ZONEOUT_CELL: tl.constexpr,
    ZONEOUT_HIDDEN: tl.constexpr, SAVE_EVERY: tl.constexpr, REVERSE: tl.constexpr,
    PRECISION: tl.constexpr, BLOCK_B: tl.constexpr, BLOCK_H: tl.constexpr, BLOCK_F: tl.constexpr,
):  # fmt: skip
    """From W x + b (T, B, GH) to the output (T, B, FEATURES); the states are written over.

    `gates` and `cells` take those of every step, `chunks` the cell state before every
    SAVE_EVERY-th. What is past the longest of a program's rows is not written.
    """
    work: tl.constexpr = gates_x.dtype.element_ty
    first, rows, units, inside = tile(B, H, BLOCK_B, BLOCK_H)
    features = tl.arange(0, BLOCK_F)[None, :]
    inside_h = (first + rows < B) & (features < FEATURES)
    at, at_h = first * H + rows * H + units, first * FEATURES + rows * FEATURES + features
    r_of_i, r_of_f, r_of_g, r_of_o = gate_weights(weight_hh, H, FEATURES, GATES, BLOCK_H, BLOCK_F)
    if weight_hr is not None:
        projection = weight_tile(weight_hr, FEATURES, H, BLOCK_F, BLOCK_H)
    longest = longest_of(lengths, steps, B, first, rows)
    if lengths is not None:
        ends = row_lengths(lengths, B, first, rows)

    state_h = load(h, at_h, inside_h, work)
    state_c = load(c, at, inside, work)
    if chunks is not None and REVERSE:
        _keep_unreached(
            chunks, state_c, steps, longest, B, first, rows, units, inside, H, SAVE_EVERY, REVERSE
        )
    begin = longest - 1 if REVERSE else 0
    some = longest > 0
    of_gates = of_step(gates_x, begin, B, first, GATES * H)
    n_i, n_f, n_g, n_o = load_gates(of_gates, rows, units, inside & some, H, GATES, work)
    there = tl.maximum(begin, 0)
    if reset is not None:
        n_reset = row_flags(reset, there, B, first, rows)
    if zoneout_cell_mask is not None:
        n_keeps_c = unit_flags(zoneout_cell_mask, there, B, first, rows, units, inside, H)
    if zoneout_hidden_mask is not None:
        n_keeps_h = unit_flags(
            zoneout_hidden_mask, there, B, first, rows, features, inside_h, FEATURES
        )  # fmt: skip
    for step in range(longest):
        t = longest - 1 - step if REVERSE else step
        x_i, x_f, x_g, x_o = n_i, n_f, n_g, n_o
        # Those of the next step, so that nobody waits for the memory then.
        following = t - 1 if REVERSE else t + 1
        more = step + 1 < longest
        of_gates = of_step(gates_x, following, B, first, GATES * H)
        n_i, n_f, n_g, n_o = load_gates(of_gates, rows, units, inside & more, H, GATES, work)
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
        alive = None
        if lengths is not None:
            alive = t < ends
        if chunks is not None:
            _keep_start(chunks, state_c, t, B, first, rows, units, inside, H, SAVE_EVERY, REVERSE)
        seen = seen_by_recurrent(
            state_h, was_reset, reset_h, recurrent_mask, first, rows, features, inside_h, FEATURES
        )
        r_f = product(r_of_f, seen, PRECISION)
        r_g = product(r_of_g, seen, PRECISION)
        r_o = product(r_of_o, seen, PRECISION)
        r_i = product(r_of_i, seen, PRECISION) if GATES == 4 else tl.zeros_like(r_f)
        state_c, new_h = cell_step(
            x_i, x_f, x_g, x_o, r_i, r_f, r_g, r_o, state_c, alive, was_reset, keeps_c,
            gates, cells, peephole, norm_hh, norm_cell, norm_cell_bias, reset_c,
            t, B, first, rows, units, inside, H, GATES, EPSILON, CLIP, ZONEOUT_CELL,
        )  # fmt: skip
        if weight_hr is not None:
            new_h = product(projection, new_h, PRECISION)
        state_h = hidden_step(
            new_h, state_h, alive, was_reset, keeps_h, output, reset_h,
            t, B, first, rows, features, inside_h, FEATURES, ZONEOUT_HIDDEN,
        )  # fmt: skip
    if chunks is not None and not REVERSE:
        _keep_unreached(
            chunks, state_c, steps, longest, B, first, rows, units, inside, H, SAVE_EVERY, REVERSE
        )
    tl.store(h + at_h, state_h, mask=inside_h)
    tl.store(c + at, state_c, mask=inside)
