"""What the backward kernel of the back end "triton-grid" reads a turn ahead of its use.

It comes from far, and is on its way while a program waits for the others.
"""

# To a type checker a kernel's function raises, as it does when it is called from outside of one.
# pyright: reportGeneralTypeIssues=false

import triton
import triton.language as tl

from fastlstm.ops.triton_cell import load, load_gates, of_step
from fastlstm.ops.triton_cell_backward import load_cell_before


@triton.jit
def step_back(step, steps, REVERSE: tl.constexpr):
    """The time step of a step of the way back; one that there is for the last of these too."""
    t = tl.maximum(steps - 1 - step, 0)
    if REVERSE:
        t = tl.minimum(step, steps - 1)
    return t


@triton.jit
def saved_step(
    gates, cells, c_0, d_output, lengths, turn, turns, tiles, steps, B, rows, units, features,
    H: tl.constexpr, R: tl.constexpr, GATES: tl.constexpr, REVERSE: tl.constexpr,
    TILE: tl.constexpr, work: tl.constexpr,
):  # fmt: skip
    """What a turn reads of the forward pass and of the gradients; a step has so many `turns`."""
    t = step_back(turn // turns, steps, REVERSE)
    first = (tl.program_id(1) * tiles + turn % tiles).to(tl.int64) * TILE
    inside = (first + rows < B) & (units < H)
    at = rows * H + units
    of_gates = of_step(gates, t, B, first, GATES * H)
    i, f, g, o = load_gates(of_gates, rows, units, inside, H, GATES, work)
    cell = load(of_step(cells, t, B, first, H), at, inside, work)
    before = load_cell_before(
        cells, c_0, lengths, t, steps, B, first, rows, units, inside, H, REVERSE, work
    )
    inside_h = (first + rows < B) & (features < R)
    d_of_output = tl.zeros(inside_h.shape, work)
    if d_output is not None:
        d_of_output = load(of_step(d_output, t, B, first, R), rows * R + features, inside_h, work)
    return i, f, g, o, cell, before, d_of_output


@triton.jit
def saved_norms(
    recurrent, of_recurrent, of_cells, cells_seen, turn, turns, tiles, steps, B, rows, units,
    H: tl.constexpr, GATES: tl.constexpr, REVERSE: tl.constexpr, TILE: tl.constexpr,
    work: tl.constexpr,
):  # fmt: skip
    """What a turn reads of both layer norms: the normalized values, and one over the deviations."""
    t = step_back(turn // turns, steps, REVERSE)
    first = (tl.program_id(1) * tiles + turn % tiles).to(tl.int64) * TILE
    there = first + rows < B
    inside = there & (units < H)
    of_gates = of_step(recurrent, t, B, first, GATES * H)
    n_i, n_f, n_g, n_o = load_gates(of_gates, rows, units, inside, H, GATES, work)
    of_seen = load(of_step(cells_seen, t, B, first, H), rows * H + units, inside, work)
    inverse = load(of_step(of_recurrent, t, B, first, 1), rows, there, work)
    inverse_cell = load(of_step(of_cells, t, B, first, 1), rows, there, work)
    return n_i, n_f, n_g, n_o, of_seen, inverse, inverse_cell
