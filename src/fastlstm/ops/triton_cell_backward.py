"""One time step of the backward pass as Triton functions of values; see `triton_cell.py`.

The derivatives are those of `gradients.py`, under their names. A kernel calls
`hidden_step_backward` and then `cell_step_backward`, between which a projection stands, multiplies
what that gives by R, and ends the step with `handed_back` and `reset_backward`.
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
    normalized,
    normalized_gates,
    of_step,
    row_lengths,
    row_sum,
    seen_by_output,
    store_gates,
    tanh,
    times_gain,
)


@triton.jit
def _zoneout_backward(d, keeps, rate: tl.constexpr):
    """The gradients of the new and of the old value."""
    if keeps is not None:
        d_new = tl.where(keeps, 0.0, d)
        d_old = tl.where(keeps, d, 0.0)
    else:
        d_new = d * (1 - rate)
        d_old = d * rate
    return d_new, d_old


@triton.jit
def first_of_row(t, steps, ends, REVERSE: tl.constexpr):
    """Whether the scan begins with step t, of each row; of a reversed one at the row's own end.

    `ends` is how many steps of each row are real; None if all are.
    """
    if REVERSE:
        begins = t + 1 == steps
        if ends is not None:
            begins = begins | (t + 1 == ends)
    else:
        begins = t == 0
    return begins


@triton.jit
def load_cell_before(
    cells, c_0, lengths, t, steps, B, first, rows, units, inside, H: tl.constexpr,
    REVERSE: tl.constexpr, work: tl.constexpr,
):  # fmt: skip
    """The cell state that step t finds, before its reset; anything where the step is not real."""
    ends = None
    if lengths is not None:
        ends = row_lengths(lengths, B, first, rows)
    begins = first_of_row(t, steps, ends, REVERSE)
    before = t + 1 if REVERSE else t - 1
    at = rows * H + units
    found = load(of_step(cells, before, B, first, H), at, inside & (begins == 0), work)
    return tl.where(begins, load(c_0 + first * H, at, inside & begins, work), found)


@triton.jit
def handed_back(
    d_old, through_r, recurrent_mask, first, rows, units, inside, H: tl.constexpr
):  # fmt: skip
    """The gradient of the hidden state that a step starts from, from both parts of it.

    One is what the step had for it at once, the other what came through R.
    """
    if recurrent_mask is not None:
        through_r *= load(recurrent_mask + first * H, rows * H + units, inside, through_r.dtype)
    return d_old + through_r


@triton.jit
def reset_backward(d, total, alive, was_reset):
    """The gradients of the state before the reset of a step, and of what it is reset to.

    `total` is the latter's of all later steps, the flags are as in `cell_step`.
    """
    if alive is not None:
        was_reset = was_reset & alive
    return tl.where(was_reset, 0.0, d), total + tl.where(was_reset, d, 0.0)


@triton.jit
def hidden_step_backward(
    left, d_output, alive, keeps, ZONEOUT_HIDDEN: tl.constexpr
):  # fmt: skip
    """The gradients of the new hidden state, before zoneout, and of the old one at once.

    `left` is that of the state which the step leaves, without `d_output`, of the output; None if
    there is none.
    """
    d = left
    if d_output is not None:
        d += d_output
    d_new, d_old = _zoneout_backward(d, keeps, ZONEOUT_HIDDEN)
    if alive is not None:
        d_new = tl.where(alive, d_new, 0.0)
        d_old = tl.where(alive, d_old, left)
    return d_new, d_old


@triton.jit
def cell_again(
    i, f, g, cell, before, was_reset, keeps, reset_c, first, rows, units, inside,
    H: tl.constexpr, GATES: tl.constexpr, CLIP: tl.constexpr, ZONEOUT_CELL: tl.constexpr,
):  # fmt: skip
    """i, the cell state after the reset, and the new one before clipping and after, of a step.

    Values are as in `cell_step_backward`.
    """
    if GATES == 3:
        i = 1 - f
    old_c = after_reset(before, was_reset, reset_c, first, rows, units, inside, H)
    unclipped = f * old_c + i * g
    new_c = cell
    if keeps is not None or ZONEOUT_CELL != 0:
        new_c = clipped(unclipped, CLIP)
    return i, old_c, unclipped, new_c


@triton.jit
def seen_backward(d_emitted, o, of_seen, norm_cell, norm_cell_bias, units, H: tl.constexpr):
    """The gradient of ``seen``, and ``tanh(seen)``; `of_seen` is as in `seen_by_output`."""
    tanh_seen = tanh(seen_by_output(of_seen, norm_cell, norm_cell_bias, units, H))
    return d_emitted * o * (1 - tanh_seen * tanh_seen), tanh_seen


@triton.jit
def norm_backward(d, n, inverse, total, along, count: tl.constexpr):
    """The gradient of what was normalized to `n`, from that of `n`.

    `inverse` is one over the deviation, `total` the sum of d over a row of so many numbers, and
    `along` that of d n.
    """
    return inverse * (d - total / count - n * (along / count))


@triton.jit
def gates_step_backward(
    d_emitted, tanh_seen, d_of_c, left, i, f, g, o, old_c, unclipped, alive, keeps,
    d_gates, d_cells, d_z, peephole, t, B, first, rows, units, inside,
    H: tl.constexpr, GATES: tl.constexpr, CLIP: tl.constexpr, ZONEOUT_CELL: tl.constexpr,
):  # fmt: skip
    """The gradients of what goes into each gate, and of the cell state after the step's reset.

    Values are as in `cell_step_backward`, and the gradient of the new cell state that came through
    h, the old cell state after the reset, and the new one before clipping. `d_z` is written.
    """
    work: tl.constexpr = left.dtype
    here = units < H
    of_f = (GATES - 3) * H + units
    total_d_c = left
    if d_cells is not None:
        total_d_c += load(of_step(d_cells, t, B, first, H), rows * H + units, inside, work)
    d_new_c, d_old_c = _zoneout_backward(total_d_c, keeps, ZONEOUT_CELL)
    d_new_c += d_of_c
    d_o = d_emitted * tanh_seen
    if d_gates is not None:
        e_i, e_f, e_g, e_o = load_gates(
            of_step(d_gates, t, B, first, GATES * H), rows, units, inside, H, GATES, work
        )
        d_o += e_o
    d_z_o = d_o * o * (1 - o)
    if peephole is not None:
        d_new_c += d_z_o * load(peephole, of_f + H, here, work)
    if CLIP != 0:
        limit = tl.full(unclipped.shape, CLIP, work)  # the number itself would be in float32
        d_new_c = tl.where(tl.abs(unclipped) <= limit, d_new_c, 0.0)

    d_i = d_new_c * g
    d_f = d_new_c * old_c
    d_g = d_new_c * i
    if d_gates is not None:
        d_i += e_i
        d_f += e_f
        d_g += e_g
    d_old_c += d_new_c * f
    if GATES == 3:
        d_f -= d_i
    d_z_f = d_f * f * (1 - f)
    d_z_g = d_g * (1 - g * g)
    d_z_i = d_i * i * (1 - i)
    if peephole is not None:
        d_old_c += d_z_f * load(peephole, of_f, here, work)
        if GATES == 4:
            d_old_c += d_z_i * load(peephole, units, here, work)

    if alive is not None:
        d_z_f = tl.where(alive, d_z_f, 0.0)
        d_z_g = tl.where(alive, d_z_g, 0.0)
        d_z_o = tl.where(alive, d_z_o, 0.0)
        d_z_i = tl.where(alive, d_z_i, 0.0)
        d_old_c = tl.where(alive, d_old_c, left)
    of_gates = of_step(d_z, t, B, first, GATES * H)
    store_gates(of_gates, d_z_i, d_z_f, d_z_g, d_z_o, rows, units, inside, H, GATES)
    return d_z_i, d_z_f, d_z_g, d_z_o, d_old_c


@triton.jit
def cell_step_backward(
    d_emitted, left, i, f, g, o, cell, before, r_i, r_f, r_g, r_o, alive, was_reset, keeps,
    d_gates, d_cells, d_z, d_recurrent, d_seen,
    peephole, norm_hh, norm_cell, norm_cell_bias, reset_c,
    t, B, first, rows, units, inside,
    H: tl.constexpr, GATES: tl.constexpr, EPSILON: tl.constexpr, CLIP: tl.constexpr,
    ZONEOUT_CELL: tl.constexpr,
):  # fmt: skip
    """The gradients of R h, of each gate, and of the cell state after the step's reset.

    Values are the gradients of ``o ⊙ tanh(seen)`` and of the cell state that the step leaves; the
    gates (i is not read where they are coupled), the cell state as it was saved and as the step
    found it, before its reset; R h of each gate, None without layer norm; and the flags of
    `cell_step`. What is outside is zero. Written are `d_z`, and with layer norm `d_recurrent` and
    `d_seen`.
    """
    i, old_c, unclipped, of_seen = cell_again(
        i, f, g, cell, before, was_reset, keeps, reset_c, first, rows, units, inside,
        H, GATES, CLIP, ZONEOUT_CELL,
    )  # fmt: skip
    if norm_cell is not None:
        of_seen, inverse = normalized(of_seen, inside, H, EPSILON)
    d, tanh_seen = seen_backward(d_emitted, o, of_seen, norm_cell, norm_cell_bias, units, H)
    if norm_cell is not None:
        tl.store(of_step(d_seen, t, B, first, H) + rows * H + units, d, mask=inside)
        d *= load(norm_cell, units, units < H, d.dtype)
        d = norm_backward(d, of_seen, inverse, row_sum(d), row_sum(d * of_seen), H)
    d_z_i, d_z_f, d_z_g, d_z_o, d_old_c = gates_step_backward(
        d_emitted, tanh_seen, d, left, i, f, g, o, old_c, unclipped, alive, keeps,
        d_gates, d_cells, d_z, peephole, t, B, first, rows, units, inside,
        H, GATES, CLIP, ZONEOUT_CELL,
    )  # fmt: skip
    if norm_hh is not None:
        d_z_i, d_z_f, d_z_g, d_z_o = _recurrent_backward(
            d_z_i, d_z_f, d_z_g, d_z_o, r_i, r_f, r_g, r_o, norm_hh, units, inside,
            H, GATES, EPSILON,
        )  # fmt: skip
        of_gates = of_step(d_recurrent, t, B, first, GATES * H)
        store_gates(of_gates, d_z_i, d_z_f, d_z_g, d_z_o, rows, units, inside, H, GATES)
    return d_z_i, d_z_f, d_z_g, d_z_o, d_old_c


@triton.jit
def gates_norm_sums(d_i, d_f, d_g, d_o, n_i, n_f, n_g, n_o):
    """What `norm_backward` wants of a row, of all gates together."""
    total = row_sum(d_i + d_f + d_g + d_o)
    return total, row_sum(d_i * n_i + d_f * n_f + d_g * n_g + d_o * n_o)


@triton.jit
def gates_norm_backward(
    d_i, d_f, d_g, d_o, n_i, n_f, n_g, n_o, inverse, total, along, count: tl.constexpr
):  # fmt: skip
    """`norm_backward` for each gate."""
    return (
        norm_backward(d_i, n_i, inverse, total, along, count),
        norm_backward(d_f, n_f, inverse, total, along, count),
        norm_backward(d_g, n_g, inverse, total, along, count),
        norm_backward(d_o, n_o, inverse, total, along, count),
    )


@triton.jit
def _recurrent_backward(
    d_i, d_f, d_g, d_o, r_i, r_f, r_g, r_o, gain, units, inside,
    H: tl.constexpr, GATES: tl.constexpr, EPSILON: tl.constexpr,
):  # fmt: skip
    """From the gradient of LN(R h), over all gates together, to that of R h.

    What is outside, and i where the gates are coupled, must be zero.
    """
    n_i, n_f, n_g, n_o, inverse = normalized_gates(
        r_i, r_f, r_g, r_o, inside, H, GATES, EPSILON
    )  # fmt: skip
    d_i, d_f, d_g, d_o = times_gain(d_i, d_f, d_g, d_o, gain, units, H, GATES)
    if GATES == 3:
        d_i = tl.zeros_like(d_f)
    total, along = gates_norm_sums(d_i, d_f, d_g, d_o, n_i, n_f, n_g, n_o)
    return gates_norm_backward(
        d_i, d_f, d_g, d_o, n_i, n_f, n_g, n_o, inverse, total, along, GATES * H
    )
