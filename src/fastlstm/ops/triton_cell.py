"""One time step of the LSTM as Triton kernels, forward and backward, with every switch.

The equations are those of `equations.py` and `gradients.py`, line by line and under their names.
A program has a tile of rows of the batch and of units; where layer norm is on, of all units. What
is None, and what is a number, is known when a kernel is compiled: a switch that is off costs
nothing. Shapes are written as in `arguments.py`; each tensor is contiguous and, of those with a
time step, the kernels get that step's part.
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
def _tile(B, H: tl.constexpr, BLOCK_B: tl.constexpr, BLOCK_H: tl.constexpr):
    """A program's rows and units, which of them there are, and where they are in (B, H)."""
    rows = tl.program_id(0) * BLOCK_B + tl.arange(0, BLOCK_B)[:, None]
    units = tl.program_id(1) * BLOCK_H + tl.arange(0, BLOCK_H)[None, :]
    inside = (rows < B) & (units < H)
    return rows, units, inside, rows * H + units


@triton.jit
def _load(pointer, at, inside, work: tl.constexpr):
    return tl.load(pointer + at, mask=inside, other=0.0).to(work)


@triton.jit
def _flag(pointer, at, inside):
    return tl.load(pointer + at, mask=inside, other=0) != 0


@triton.jit
def _alive(lengths, t, rows, inside):
    """Whether step t of a row is real."""
    return t < tl.load(lengths + rows, mask=inside, other=0)


@triton.jit
def _after_reset(state, reset, reset_state, rows, at, inside, work: tl.constexpr):
    """The state that a step starts from."""
    start = tl.zeros_like(state)
    if reset_state is not None:
        start = _load(reset_state, at, inside, work)
    return tl.where(_flag(reset, rows, inside), start, state)


@triton.jit
def _zoneout(old, new, mask, rate: tl.constexpr, at, inside):
    if mask is not None:
        new = tl.where(_flag(mask, at, inside), old, new)
    elif rate != 0:
        new = old * rate + new * (1 - rate)
    return new


@triton.jit
def _zoneout_backward(d, mask, rate: tl.constexpr, at, inside):
    """The gradients of the new and of the old value."""
    if mask is not None:
        kept = _flag(mask, at, inside)
        d_new = tl.where(kept, 0.0, d)
        d_old = tl.where(kept, d, 0.0)
    else:
        d_new = d * (1 - rate)
        d_old = d * rate
    return d_new, d_old


@triton.jit
def _mean(total, count: tl.constexpr):
    return tl.sum(total, axis=1, keep_dims=True) / count


@triton.jit
def _centre(x, mean, inside):
    return tl.where(inside, x - mean, 0.0)


@triton.jit
def _gates(pointer, i_at, f_at, inside, H: tl.constexpr, GATES: tl.constexpr, work: tl.constexpr):
    """What stands there for i, f, g and o; zeros for i where the gates are coupled."""
    f = _load(pointer, f_at, inside, work)
    g = _load(pointer, f_at + H, inside, work)
    o = _load(pointer, f_at + 2 * H, inside, work)
    i = _load(pointer, i_at, inside, work) if GATES == 4 else tl.zeros_like(f)
    return i, f, g, o


@triton.jit
def _normalized(
    recurrent, i_at, f_at, inside, H: tl.constexpr, GATES: tl.constexpr, EPSILON: tl.constexpr,
    work: tl.constexpr,
):  # fmt: skip
    """R h with mean 0 and variance 1 over all gates together; and one over its deviation."""
    i, f, g, o = _gates(recurrent, i_at, f_at, inside, H, GATES, work)
    mean = _mean(i + f + g + o, GATES * H)
    f = _centre(f, mean, inside)
    g = _centre(g, mean, inside)
    o = _centre(o, mean, inside)
    squares = f * f + g * g + o * o
    if GATES == 4:
        i = _centre(i, mean, inside)
        squares += i * i
    inverse = 1 / tl.sqrt(_mean(squares, GATES * H) + EPSILON)
    return i * inverse, f * inverse, g * inverse, o * inverse, inverse


@triton.jit
def _hand_on(
    new_h, h, output, h_input, reset, next_reset, reset_h, mask, zoneout_mask, lengths,
    t, rows, at, inside, ZONEOUT: tl.constexpr, work: tl.constexpr,
):  # fmt: skip
    """What becomes of a new hidden state: the output, the state, and what R sees of it next."""
    before = _load(h, at, inside, work)
    started = before
    if reset is not None:
        started = _after_reset(before, reset, reset_h, rows, at, inside, work)
    new_h = _zoneout(started, new_h, zoneout_mask, ZONEOUT, at, inside)
    new_h = new_h.to(h.dtype.element_ty).to(work)  # as it is handed out, in 16 bits or more
    shown = new_h
    if lengths is not None:
        alive = _alive(lengths, t, rows, inside)
        shown = tl.where(alive, new_h, 0.0)
        new_h = tl.where(alive, new_h, before)
    tl.store(output + at, shown, mask=inside)
    tl.store(h + at, new_h, mask=inside)
    if h_input is not None:
        seen = new_h
        if next_reset is not None:
            seen = _after_reset(seen, next_reset, reset_h, rows, at, inside, work)
        if mask is not None:
            seen *= _load(mask, at, inside, work)
        tl.store(h_input + at, seen, mask=inside)


@triton.jit
def hidden_forward(
    projected, h, output, h_input, reset, next_reset, reset_h, recurrent_mask,
    zoneout_hidden_mask, lengths,
    t, B, H: tl.constexpr, ZONEOUT_HIDDEN: tl.constexpr, BLOCK_B: tl.constexpr,
    BLOCK_H: tl.constexpr,
):  # fmt: skip
    """The end of a step with a projection to H features, a product between the two kernels."""
    work: tl.constexpr = projected.dtype.element_ty
    rows, _, inside, at = _tile(B, H, BLOCK_B, BLOCK_H)
    new_h = _load(projected, at, inside, work)
    _hand_on(
        new_h, h, output, h_input, reset, next_reset, reset_h, recurrent_mask,
        zoneout_hidden_mask, lengths,
        t, rows, at, inside, ZONEOUT_HIDDEN, work,
    )  # fmt: skip


@triton.jit
def cell_forward(
    gates_x, recurrent, h, c, output, h_input, emitted, gates, cells,
    peephole, norm_hh, norm_cell, norm_cell_bias, lengths, reset, next_reset, reset_h, reset_c,
    recurrent_mask, zoneout_cell_mask, zoneout_hidden_mask,
    t, B, H: tl.constexpr, GATES: tl.constexpr, EPSILON: tl.constexpr, CLIP: tl.constexpr,
    ZONEOUT_CELL: tl.constexpr, ZONEOUT_HIDDEN: tl.constexpr,
    BLOCK_B: tl.constexpr, BLOCK_H: tl.constexpr,
):  # fmt: skip
    """One step, from W x + b (B, GH) and R h (B, GH) to the states, which are written over.

    With a projection `emitted` (B, H) takes what goes into it, and `hidden_forward` follows.
    """
    work: tl.constexpr = gates_x.dtype.element_ty
    rows, units, inside, at = _tile(B, H, BLOCK_B, BLOCK_H)
    f_at = rows * (GATES * H) + (GATES - 3) * H + units  # i, where there is one, stands before f
    i_at = rows * (GATES * H) + units

    if norm_hh is not None:
        r_i, r_f, r_g, r_o, _ = _normalized(recurrent, i_at, f_at, inside, H, GATES, EPSILON, work)
        of_f = (GATES - 3) * H + units
        r_f *= _load(norm_hh, of_f, units < H, work)
        r_g *= _load(norm_hh, of_f + H, units < H, work)
        r_o *= _load(norm_hh, of_f + 2 * H, units < H, work)
        if GATES == 4:
            r_i *= _load(norm_hh, units, units < H, work)
    else:
        r_i, r_f, r_g, r_o = _gates(recurrent, i_at, f_at, inside, H, GATES, work)

    before = _load(c, at, inside, work)
    old_c = before
    if reset is not None:
        old_c = _after_reset(before, reset, reset_c, rows, at, inside, work)
    z_f = _load(gates_x, f_at, inside, work) + r_f
    z_g = _load(gates_x, f_at + H, inside, work) + r_g
    z_o = _load(gates_x, f_at + 2 * H, inside, work) + r_o
    if peephole is not None:
        z_f += _load(peephole, (GATES - 3) * H + units, units < H, work) * old_c
    f = tl.sigmoid(z_f)
    g = tanh(z_g)
    if GATES == 4:
        z_i = _load(gates_x, i_at, inside, work) + r_i
        if peephole is not None:
            z_i += _load(peephole, units, units < H, work) * old_c
        i = tl.sigmoid(z_i)
    else:
        i = 1 - f

    new_c = f * old_c + i * g
    if CLIP != 0:
        limit = tl.full(new_c.shape, CLIP, work)
        new_c = tl.minimum(tl.maximum(new_c, -limit), limit)
    if peephole is not None:
        z_o += _load(peephole, (GATES - 2) * H + units, units < H, work) * new_c
    o = tl.sigmoid(z_o)
    seen = new_c
    if norm_cell is not None:
        centred = _centre(new_c, _mean(tl.where(inside, new_c, 0.0), H), inside)
        inverse = 1 / tl.sqrt(_mean(centred * centred, H) + EPSILON)
        seen = centred * inverse * _load(norm_cell, units, units < H, work)
        if norm_cell_bias is not None:
            seen += _load(norm_cell_bias, units, units < H, work)
    new_h = o * tanh(seen)

    kept_c = _zoneout(old_c, new_c, zoneout_cell_mask, ZONEOUT_CELL, at, inside)
    state = kept_c
    if lengths is not None:
        alive = _alive(lengths, t, rows, inside)
        kept_c = tl.where(alive, kept_c, 0.0)
        state = tl.where(alive, state, before)
        f, g, o, i = (
            tl.where(alive, f, 0.0),
            tl.where(alive, g, 0.0),
            tl.where(alive, o, 0.0),
            tl.where(alive, i, 0.0),
        )
    tl.store(c + at, state, mask=inside)
    if cells is not None:
        tl.store(cells + at, kept_c, mask=inside)
    if gates is not None:
        tl.store(gates + f_at, f, mask=inside)
        tl.store(gates + f_at + H, g, mask=inside)
        tl.store(gates + f_at + 2 * H, o, mask=inside)
        if GATES == 4:
            tl.store(gates + i_at, i, mask=inside)
    if emitted is not None:
        tl.store(emitted + at, new_h, mask=inside)
    else:
        _hand_on(
            new_h, h, output, h_input, reset, next_reset, reset_h, recurrent_mask,
            zoneout_hidden_mask, lengths, t, rows, at, inside, ZONEOUT_HIDDEN, work,
        )  # fmt: skip
