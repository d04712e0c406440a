"""One time step of the LSTM as Triton functions of values, with every switch.

The equations are those of `equations.py`, line by line and under their names. A kernel brings the
state, the products by R and the flags of a step as values, however it came to them, and calls
`cell_step` and then `hidden_step`, between which a projection stands; `triton_cell_backward.py` has
the way back.

A program has a tile of rows of the batch and of units. `cell_step` wants all units of a row where
layer norm is on; a kernel whose programs have some units each calls its parts, `gates_step` and
`seen_by_output`, and brings the statistics of the rows. What is None, and what is a number, is
known when a kernel is compiled: a switch that is off costs nothing. Shapes are written as in
`arguments.py`; tensors are whole and contiguous, and ``t`` says which step of them is meant.
"""

# To a type checker a kernel's function raises, as it does when it is called from outside of one.
# pyright: reportGeneralTypeIssues=false

import triton
import triton.language as tl

# tanh x = x P(x²) / Q(x²): Lambert's continued fraction (DLMF 4.39.1), seven steps of it. Below
# 0.55 it is right to 1e-18; there (1 - e) / (1 + e) would lose digits, and above it does not.
_SMALL = tl.constexpr(0.55)
_P1, _P2, _P3 = tl.constexpr(2 / 15), tl.constexpr(2 / 585), tl.constexpr(4 / 225225)
_Q1, _Q2 = tl.constexpr(7 / 15), tl.constexpr(1 / 39)
_Q3, _Q4 = tl.constexpr(2 / 6435), tl.constexpr(1 / 2027025)


@triton.jit
def tanh(x):
    """Within a few units of the last place, in float32 and float64."""
    e = tl.exp(-2 * tl.abs(x))
    large = (1 - e) / (1 + e)
    z = x * x
    small = x * (1 + z * (_P1 + z * (_P2 + z * _P3)))
    small = small / (1 + z * (_Q1 + z * (_Q2 + z * (_Q3 + z * _Q4))))
    return tl.where(tl.abs(x) < _SMALL, small, tl.where(x < 0, -large, large))


@triton.jit
def tile(B, H: tl.constexpr, BLOCK_B: tl.constexpr, BLOCK_H: tl.constexpr):
    """A program's first row, its rows from there on, its units, and which of both there are."""
    first = tl.program_id(0).to(tl.int64) * BLOCK_B
    rows = tl.arange(0, BLOCK_B)[:, None]
    units = tl.program_id(1) * BLOCK_H + tl.arange(0, BLOCK_H)[None, :]
    return first, rows, units, (first + rows < B) & (units < H)


@triton.jit
def of_step(pointer, t, B, first, width: tl.constexpr):
    """Where in (T, B, width) the first row of a program is; T·B·width may pass 32 bits."""
    return pointer + (tl.cast(t, tl.int64) * B + first) * width


@triton.jit
def load(pointer, at, inside, work: tl.constexpr):
    """What stands there, to calculate with; zeros outside."""
    return tl.load(pointer + at, mask=inside, other=0.0).to(work)


@triton.jit
def load_gates(
    pointer, rows, units, inside, H: tl.constexpr, GATES: tl.constexpr, work: tl.constexpr
):
    """What (B, GH) has for i, f, g and o; zeros for i where the gates are coupled."""
    f_at = rows * (GATES * H) + (GATES - 3) * H + units  # i, where there is one, stands before f
    f = load(pointer, f_at, inside, work)
    g = load(pointer, f_at + H, inside, work)
    o = load(pointer, f_at + 2 * H, inside, work)
    i = load(pointer, f_at - H, inside, work) if GATES == 4 else tl.zeros_like(f)
    return i, f, g, o


@triton.jit
def store_gates(
    pointer, i, f, g, o, rows, units, inside, H: tl.constexpr, GATES: tl.constexpr
):  # fmt: skip
    """Write (B, GH), of which i is no part where the gates are coupled."""
    f_at = rows * (GATES * H) + (GATES - 3) * H + units
    tl.store(pointer + f_at, f, mask=inside)
    tl.store(pointer + f_at + H, g, mask=inside)
    tl.store(pointer + f_at + 2 * H, o, mask=inside)
    if GATES == 4:
        tl.store(pointer + f_at - H, i, mask=inside)


@triton.jit
def row_flags(pointer, t, B, first, rows):
    """What (T, B) bool has for each row of a program; None where there is none."""
    found = None
    if pointer is not None:
        found = tl.load(of_step(pointer, t, B, first, 1) + rows, mask=first + rows < B, other=0)
    return found


@triton.jit
def unit_flags(pointer, t, B, first, rows, units, inside, H: tl.constexpr):
    """What (T, B, H) bool has for each unit of a program; None where there is none."""
    found = None
    if pointer is not None:
        found = tl.load(of_step(pointer, t, B, first, H) + rows * H + units, mask=inside, other=0)
    return found


@triton.jit
def row_lengths(lengths, B, first, rows):
    """How many steps of each row of a program are real; none of those that are not there."""
    return tl.load(lengths + first + rows, mask=first + rows < B, other=0)


@triton.jit
def after_reset(state, was_reset, reset_state, first, rows, units, inside, H: tl.constexpr):
    """The state that a step starts from; `was_reset` says of which rows it is reset, or is None."""
    if was_reset is not None:
        start = tl.zeros_like(state)
        if reset_state is not None:
            start = load(reset_state + first * H, rows * H + units, inside, state.dtype)
        state = tl.where(was_reset, start, state)
    return state


@triton.jit
def _zoneout(old, new, keeps, rate: tl.constexpr):
    """The new value, but where `keeps` says, or at that rate, the old one."""
    if keeps is not None:
        new = tl.where(keeps, old, new)
    elif rate != 0:
        new = old * rate + new * (1 - rate)
    return new


@triton.jit
def clipped(x, CLIP: tl.constexpr):
    """Between ±CLIP; 0 is no limit. What is not a number stays so, which a GPU must be told."""
    if CLIP != 0:
        limit = tl.full(x.shape, CLIP, x.dtype)
        x = tl.maximum(x, -limit, propagate_nan=tl.PropagateNan.ALL)
        x = tl.minimum(x, limit, propagate_nan=tl.PropagateNan.ALL)
    return x


@triton.jit
def row_sum(x):
    """(rows, 1); what is outside must be zero."""
    return tl.sum(x, axis=1, keep_dims=True)


@triton.jit
def centred(x, of_row, inside):
    """Less a number of each row; zero outside."""
    return tl.where(inside, x - of_row, 0.0)


@triton.jit
def centred_gates(i, f, g, o, of_row, inside, GATES: tl.constexpr):
    """R h of each gate less a number of each row, zero outside; and the sum of their squares."""
    f = centred(f, of_row, inside)
    g = centred(g, of_row, inside)
    o = centred(o, of_row, inside)
    squares = f * f + g * g + o * o
    if GATES == 4:
        i = centred(i, of_row, inside)
        squares += i * i
    return i, f, g, o, squares


@triton.jit
def normalized(x, inside, H: tl.constexpr, EPSILON: tl.constexpr):
    """A row with mean 0 and variance 1; and one over its deviation."""
    x = centred(x, row_sum(tl.where(inside, x, 0.0)) / H, inside)
    inverse = 1 / tl.sqrt(row_sum(x * x) / H + EPSILON)
    return x * inverse, inverse


@triton.jit
def normalized_gates(
    i, f, g, o, inside, H: tl.constexpr, GATES: tl.constexpr, EPSILON: tl.constexpr
):
    """R h with mean 0 and variance 1 over all gates together; and one over its deviation.

    What is outside, and i where the gates are coupled, must be zero.
    """
    of_row = row_sum(i + f + g + o) / (GATES * H)
    i, f, g, o, squares = centred_gates(i, f, g, o, of_row, inside, GATES)
    inverse = 1 / tl.sqrt(row_sum(squares) / (GATES * H) + EPSILON)
    return i * inverse, f * inverse, g * inverse, o * inverse, inverse


@triton.jit
def times_gain(
    n_i, n_f, n_g, n_o, gain, units, H: tl.constexpr, GATES: tl.constexpr
):  # fmt: skip
    """A value of each gate times what a vector (GH) has for it."""
    work: tl.constexpr = n_f.dtype
    here = units < H
    of_f = (GATES - 3) * H + units
    n_f *= load(gain, of_f, here, work)
    n_g *= load(gain, of_f + H, here, work)
    n_o *= load(gain, of_f + 2 * H, here, work)
    if GATES == 4:
        n_i *= load(gain, units, here, work)
    return n_i, n_f, n_g, n_o


@triton.jit
def gates_step(
    x_i, x_f, x_g, x_o, r_i, r_f, r_g, r_o, before, alive, was_reset, keeps,
    gates, cells, peephole, reset_c, t, B, first, rows, units, inside,
    H: tl.constexpr, GATES: tl.constexpr, CLIP: tl.constexpr, ZONEOUT_CELL: tl.constexpr,
):  # fmt: skip
    """The cell state that the step leaves, the new one before zoneout, and the output gate.

    Values are as in `cell_step`, but r_i to r_o are what is added to W x + b.
    """
    work: tl.constexpr = before.dtype
    here = units < H
    of_f = (GATES - 3) * H + units
    old_c = after_reset(before, was_reset, reset_c, first, rows, units, inside, H)
    z_f = x_f + r_f
    z_g = x_g + r_g
    z_o = x_o + r_o
    if peephole is not None:
        z_f += load(peephole, of_f, here, work) * old_c
    f = tl.sigmoid(z_f)
    g = tanh(z_g)
    if GATES == 4:
        z_i = x_i + r_i
        if peephole is not None:
            z_i += load(peephole, units, here, work) * old_c
        i = tl.sigmoid(z_i)
    else:
        i = 1 - f

    new_c = clipped(f * old_c + i * g, CLIP)
    if peephole is not None:
        z_o += load(peephole, of_f + H, here, work) * new_c
    o = tl.sigmoid(z_o)
    kept_c = _zoneout(old_c, new_c, keeps, ZONEOUT_CELL)
    state = kept_c
    kept_i, kept_f, kept_g, kept_o = i, f, g, o
    if alive is not None:
        kept_c = tl.where(alive, kept_c, 0.0)
        state = tl.where(alive, state, before)
        kept_f = tl.where(alive, f, 0.0)
        kept_g = tl.where(alive, g, 0.0)
        kept_o = tl.where(alive, o, 0.0)
        kept_i = tl.where(alive, i, 0.0)
    if cells is not None:
        tl.store(of_step(cells, t, B, first, H) + rows * H + units, kept_c, mask=inside)
    if gates is not None:
        of_gates = of_step(gates, t, B, first, GATES * H)
        store_gates(of_gates, kept_i, kept_f, kept_g, kept_o, rows, units, inside, H, GATES)
    return state, new_c, o


@triton.jit
def seen_by_output(of_seen, norm_cell, norm_cell_bias, units, H: tl.constexpr):
    """The new cell state; with layer norm, what that makes of the normalized one."""
    seen = of_seen
    if norm_cell is not None:
        here = units < H
        seen *= load(norm_cell, units, here, seen.dtype)
        if norm_cell_bias is not None:
            seen += load(norm_cell_bias, units, here, seen.dtype)
    return seen


@triton.jit
def cell_step(
    x_i, x_f, x_g, x_o, r_i, r_f, r_g, r_o, before, alive, was_reset, keeps,
    gates, cells, peephole, norm_hh, norm_cell, norm_cell_bias, reset_c,
    t, B, first, rows, units, inside,
    H: tl.constexpr, GATES: tl.constexpr, EPSILON: tl.constexpr, CLIP: tl.constexpr,
    ZONEOUT_CELL: tl.constexpr,
):  # fmt: skip
    """The new cell state, and ``o ⊙ tanh(seen)``, which is the new h or goes into its projection.

    Values are W x + b and R h of each gate (those of i are not read where the gates are coupled),
    the cell state before the step's reset; and by row whether the step is real, None if all are,
    and whether it was reset, None if none was; and which units keep their cell state (zoneout).
    """
    if norm_hh is not None:
        r_i, r_f, r_g, r_o, _ = normalized_gates(r_i, r_f, r_g, r_o, inside, H, GATES, EPSILON)
        r_i, r_f, r_g, r_o = times_gain(r_i, r_f, r_g, r_o, norm_hh, units, H, GATES)
    state, of_seen, o = gates_step(
        x_i, x_f, x_g, x_o, r_i, r_f, r_g, r_o, before, alive, was_reset, keeps,
        gates, cells, peephole, reset_c, t, B, first, rows, units, inside,
        H, GATES, CLIP, ZONEOUT_CELL,
    )  # fmt: skip
    if norm_cell is not None:
        of_seen, _ = normalized(of_seen, inside, H, EPSILON)
    return state, o * tanh(seen_by_output(of_seen, norm_cell, norm_cell_bias, units, H))


@triton.jit
def hidden_step(
    new_h, before, alive, was_reset, keeps, output, reset_h,
    t, B, first, rows, units, inside, H: tl.constexpr, ZONEOUT_HIDDEN: tl.constexpr,
):  # fmt: skip
    """The new hidden state of H features, from what `cell_step` or the projection made.

    `before` is the hidden state before the step's reset, the flags are as in `cell_step`.
    """
    started = after_reset(before, was_reset, reset_h, first, rows, units, inside, H)
    new_h = _zoneout(started, new_h, keeps, ZONEOUT_HIDDEN)
    new_h = new_h.to(output.dtype.element_ty).to(before.dtype)  # as it is handed out, if in 16 bits
    shown = new_h
    if alive is not None:
        shown = tl.where(alive, new_h, 0.0)
        new_h = tl.where(alive, new_h, before)
    tl.store(of_step(output, t, B, first, H) + rows * H + units, shown, mask=inside)
    return new_h


@triton.jit
def seen_by_recurrent(
    h, was_reset, reset_h, recurrent_mask, first, rows, units, inside, H: tl.constexpr
):
    """What R sees in a step of the hidden state before it; the flags are those of that step."""
    h = after_reset(h, was_reset, reset_h, first, rows, units, inside, H)
    if recurrent_mask is not None:
        h *= load(recurrent_mask + first * H, rows * H + units, inside, h.dtype)
    return h
