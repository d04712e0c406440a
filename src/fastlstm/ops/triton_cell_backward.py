"""One time step of the backward pass as Triton kernels, with every switch; see `triton_cell.py`.

The gradient of the hidden state reaches a step in two parts, what the later step handed on by
itself and what came through R, as the product of its `d_recurrent` with R lies between them.
"""

# To a type checker a kernel's function raises, as it does when it is called from outside of one.
# pyright: reportGeneralTypeIssues=false

import triton
import triton.language as tl

from fastlstm.ops.triton_cell import (
    _after_reset,
    _alive,
    _centre,
    _flag,
    _load,
    _mean,
    _normalized,
    _tile,
    _zoneout_backward,
    tanh,
)


@triton.jit
def _arrive(
    d_h, through_r, mask, later_reset, d_reset_h, lengths, later_t, rows, at, inside,
    work: tl.constexpr,
):  # fmt: skip
    """The gradient of the state that a step leaves, from both parts of it."""
    d = _load(d_h, at, inside, work)
    if through_r is not None:
        product = _load(through_r, at, inside, work)
        if mask is not None:
            product *= _load(mask, at, inside, work)
        d += product
    if later_reset is not None:
        was_reset = _flag(later_reset, rows, inside)
        if lengths is not None:
            was_reset = was_reset & _alive(lengths, later_t, rows, inside)
        total = _load(d_reset_h, at, inside, work) + tl.where(was_reset, d, 0.0)
        tl.store(d_reset_h + at, total, mask=inside)
        d = tl.where(was_reset, 0.0, d)
    return d


@triton.jit
def _hidden_backward(
    d_h, through_r, d_output, mask, zoneout_mask, later_reset, d_reset_h, lengths, t, later_t,
    rows, at, inside, ZONEOUT: tl.constexpr, work: tl.constexpr,
):  # fmt: skip
    """The gradient of the new hidden state; what the old one gets at once is written to d_h."""
    left = _arrive(
        d_h, through_r, mask, later_reset, d_reset_h, lengths, later_t, rows, at, inside, work
    )
    d = left
    if d_output is not None:
        d += _load(d_output, at, inside, work)
    d_new, d_old = _zoneout_backward(d, zoneout_mask, ZONEOUT, at, inside)
    if lengths is not None:
        alive = _alive(lengths, t, rows, inside)
        d_new = tl.where(alive, d_new, 0.0)
        d_old = tl.where(alive, d_old, left)
    tl.store(d_h + at, d_old, mask=inside)
    return d_new


@triton.jit
def hidden_backward(
    d_h, through_r, d_output, d_new_h, recurrent_mask, zoneout_hidden_mask, later_reset,
    d_reset_h, lengths,
    t, later_t, B, H: tl.constexpr, ZONEOUT_HIDDEN: tl.constexpr,
    BLOCK_B: tl.constexpr, BLOCK_H: tl.constexpr,
):  # fmt: skip
    """The beginning of a step with a projection to H features, a product between the kernels."""
    work: tl.constexpr = d_h.dtype.element_ty
    rows, _, inside, at = _tile(B, H, BLOCK_B, BLOCK_H)
    d = _hidden_backward(
        d_h, through_r, d_output, recurrent_mask, zoneout_hidden_mask, later_reset, d_reset_h,
        lengths, t, later_t,
        rows, at, inside, ZONEOUT_HIDDEN, work,
    )  # fmt: skip
    tl.store(d_new_h + at, d, mask=inside)


@triton.jit
def cell_backward(
    d_h, through_r, d_emitted, d_c, d_output, d_gates, d_cells, d_z, d_recurrent, d_seen,
    d_reset_h, d_reset_c, gates, cells, cells_before, c_0, recurrent,
    peephole, norm_hh, norm_cell, norm_cell_bias, lengths, reset, later_reset, reset_c,
    recurrent_mask, zoneout_cell_mask, zoneout_hidden_mask,
    t, later_t, B, H: tl.constexpr, GATES: tl.constexpr, EPSILON: tl.constexpr,
    CLIP: tl.constexpr, ZONEOUT_CELL: tl.constexpr, ZONEOUT_HIDDEN: tl.constexpr,
    BLOCK_B: tl.constexpr, BLOCK_H: tl.constexpr,
):  # fmt: skip
    """One step back: `d_z` (B, GH), and the states' gradients, which are written over.

    With a projection `hidden_backward` went before, and `d_emitted` (B, H) is its product with
    the projection's weight. `c_0` is given where rows of a reversed batch begin at their own ends.
    """
    work: tl.constexpr = d_c.dtype.element_ty
    rows, units, inside, at = _tile(B, H, BLOCK_B, BLOCK_H)
    f_at = rows * (GATES * H) + (GATES - 3) * H + units  # i, where there is one, stands before f
    i_at = rows * (GATES * H) + units

    if d_emitted is not None:
        d_out = _load(d_emitted, at, inside, work)
    else:
        d_out = _hidden_backward(
            d_h, through_r, d_output, recurrent_mask, zoneout_hidden_mask, later_reset, d_reset_h,
            lengths, t, later_t, rows, at, inside, ZONEOUT_HIDDEN, work,
        )  # fmt: skip
    left_c = _load(d_c, at, inside, work)
    total_d_c = left_c
    if d_cells is not None:
        total_d_c += _load(d_cells, at, inside, work)
    d_new_c, d_old_c = _zoneout_backward(total_d_c, zoneout_cell_mask, ZONEOUT_CELL, at, inside)

    f = _load(gates, f_at, inside, work)
    g = _load(gates, f_at + H, inside, work)
    o = _load(gates, f_at + 2 * H, inside, work)
    i = _load(gates, i_at, inside, work) if GATES == 4 else 1 - f
    old_c = _load(cells_before, at, inside, work)
    if c_0 is not None:
        is_first = t == tl.load(lengths + rows, mask=inside, other=0) - 1
        old_c = tl.where(is_first, _load(c_0, at, inside, work), old_c)
    if reset is not None:
        old_c = _after_reset(old_c, reset, reset_c, rows, at, inside, work)
    unclipped = f * old_c + i * g
    if zoneout_cell_mask is not None or ZONEOUT_CELL != 0:
        new_c = unclipped
        if CLIP != 0:
            limit = tl.full(new_c.shape, CLIP, work)
            new_c = tl.minimum(tl.maximum(new_c, -limit), limit)
    else:
        new_c = _load(cells, at, inside, work)

    if norm_cell is not None:
        gain = _load(norm_cell, units, units < H, work)
        centred = _centre(new_c, _mean(tl.where(inside, new_c, 0.0), H), inside)
        inverse_cell = 1 / tl.sqrt(_mean(centred * centred, H) + EPSILON)
        normalized = centred * inverse_cell
        seen = normalized * gain
        if norm_cell_bias is not None:
            seen += _load(norm_cell_bias, units, units < H, work)
        tanh_seen = tanh(seen)
        d_of_seen = d_out * o * (1 - tanh_seen * tanh_seen)
        tl.store(d_seen + at, d_of_seen, mask=inside)
        d = tl.where(inside, d_of_seen * gain, 0.0)
        along = _mean(d * normalized, H)
        d_new_c += inverse_cell * (d - _mean(d, H) - normalized * along)
    else:
        tanh_seen = tanh(new_c)
        d_new_c += d_out * o * (1 - tanh_seen * tanh_seen)

    d_o = d_out * tanh_seen
    if d_gates is not None:
        d_o += _load(d_gates, f_at + 2 * H, inside, work)
    d_z_o = d_o * o * (1 - o)
    if peephole is not None:
        d_new_c += d_z_o * _load(peephole, (GATES - 2) * H + units, units < H, work)
    if CLIP != 0:
        d_new_c = tl.where(tl.abs(unclipped) <= CLIP, d_new_c, 0.0)

    d_i = d_new_c * g
    d_f = d_new_c * old_c
    d_g = d_new_c * i
    if d_gates is not None:
        d_f += _load(d_gates, f_at, inside, work)
        d_g += _load(d_gates, f_at + H, inside, work)
    d_old_c += d_new_c * f
    if GATES == 4:
        if d_gates is not None:
            d_i += _load(d_gates, i_at, inside, work)
    else:
        d_f -= d_i
    d_z_f = d_f * f * (1 - f)
    d_z_g = d_g * (1 - g * g)
    d_z_i = d_i * i * (1 - i)
    if peephole is not None:
        d_old_c += d_z_f * _load(peephole, (GATES - 3) * H + units, units < H, work)
        if GATES == 4:
            d_old_c += d_z_i * _load(peephole, units, units < H, work)

    if lengths is not None:
        alive = _alive(lengths, t, rows, inside)
        d_z_f = tl.where(alive, d_z_f, 0.0)
        d_z_g = tl.where(alive, d_z_g, 0.0)
        d_z_o = tl.where(alive, d_z_o, 0.0)
        d_z_i = tl.where(alive, d_z_i, 0.0)
    tl.store(d_z + f_at, d_z_f, mask=inside)
    tl.store(d_z + f_at + H, d_z_g, mask=inside)
    tl.store(d_z + f_at + 2 * H, d_z_o, mask=inside)
    if GATES == 4:
        tl.store(d_z + i_at, d_z_i, mask=inside)

    if norm_hh is not None:
        _norm_backward(
            d_z_i, d_z_f, d_z_g, d_z_o, recurrent, d_recurrent, norm_hh,
            i_at, f_at, units, inside, H, GATES, EPSILON, work,
        )  # fmt: skip

    if reset is not None:
        was_reset = _flag(reset, rows, inside)
        if lengths is not None:
            was_reset = was_reset & alive
        total = _load(d_reset_c, at, inside, work) + tl.where(was_reset, d_old_c, 0.0)
        tl.store(d_reset_c + at, total, mask=inside)
        d_old_c = tl.where(was_reset, 0.0, d_old_c)
    if lengths is not None:
        d_old_c = tl.where(alive, d_old_c, left_c)
    tl.store(d_c + at, d_old_c, mask=inside)


@triton.jit
def _norm_backward(
    d_z_i, d_z_f, d_z_g, d_z_o, recurrent, d_recurrent, gain, i_at, f_at, units, inside,
    H: tl.constexpr, GATES: tl.constexpr, EPSILON: tl.constexpr, work: tl.constexpr,
):  # fmt: skip
    """From the gradient of LN(R h), over all gates together, to that of R h."""
    of_f = (GATES - 3) * H + units
    n_i, n_f, n_g, n_o, inverse = _normalized(
        recurrent, i_at, f_at, inside, H, GATES, EPSILON, work
    )
    d_f = tl.where(inside, d_z_f * _load(gain, of_f, units < H, work), 0.0)
    d_g = tl.where(inside, d_z_g * _load(gain, of_f + H, units < H, work), 0.0)
    d_o = tl.where(inside, d_z_o * _load(gain, of_f + 2 * H, units < H, work), 0.0)
    d_i = tl.zeros_like(d_f)
    if GATES == 4:
        d_i = tl.where(inside, d_z_i * _load(gain, units, units < H, work), 0.0)
    d_mean = _mean(d_i + d_f + d_g + d_o, GATES * H)
    along = _mean(d_i * n_i + d_f * n_f + d_g * n_g + d_o * n_o, GATES * H)
    tl.store(d_recurrent + f_at, inverse * (d_f - d_mean - n_f * along), mask=inside)
    tl.store(d_recurrent + f_at + H, inverse * (d_g - d_mean - n_g * along), mask=inside)
    tl.store(d_recurrent + f_at + 2 * H, inverse * (d_o - d_mean - n_o * along), mask=inside)
    if GATES == 4:
        tl.store(d_recurrent + i_at, inverse * (d_i - d_mean - n_i * along), mask=inside)
