"""Layer norm for the back end "triton-grid", each of whose programs has some units of a row.

A program leaves two numbers of its units for each row, and after a barrier each program adds up
those of all: B · 8 bytes from each of them, through the second-level cache. So each norm costs one
barrier more in a step, 1 to 2 µs, and little beside it: a step with layer norm has three.
"""

# To a type checker a kernel's function raises, as it does when it is called from outside of one.
# pyright: reportGeneralTypeIssues=false

import triton
import triton.language as tl

from fastlstm.ops.triton_cell import centred, centred_gates, row_sum


@triton.jit
def leave_numbers(
    one, other, partials, place, rows, TILE: tl.constexpr, PROGRAMS: tl.constexpr
):  # fmt: skip
    """Write two numbers (TILE, 1) of a program to `partials` (all tiles, 2, TILE, PROGRAMS)."""
    at = partials + place * (2 * TILE * PROGRAMS) + rows * PROGRAMS + tl.program_id(0)
    tl.store(at, one)
    tl.store(at + TILE * PROGRAMS, other)


@triton.jit
def _numbers_of_all(
    partials, place, rows, TILE: tl.constexpr, UNITS: tl.constexpr, PROGRAMS: tl.constexpr
):
    """Both numbers of each program, in tiles (TILE, UNITS) as the units are, of so many programs.

    In any other shape the compiler would bring the units' tiles into its layout, and back.
    """
    program = tl.arange(0, UNITS)[None, :]
    at = partials + place * (2 * TILE * PROGRAMS) + rows * PROGRAMS + program
    ones, others = (), ()
    for begin in tl.static_range(0, PROGRAMS, UNITS):
        there = begin + program < PROGRAMS
        # Around the cache of the processor, which does not know that others have written there.
        one = tl.load(at + begin, mask=there, other=0.0, cache_modifier=".cg")
        other = tl.load(at + TILE * PROGRAMS + begin, mask=there, other=0.0, cache_modifier=".cg")
        ones += (one,)
        others += (other,)
    return ones, others


@triton.jit
def sums_of_all(
    partials, place, rows, TILE: tl.constexpr, UNITS: tl.constexpr, PROGRAMS: tl.constexpr
):
    """The sums (TILE, 1) over all programs of the two numbers that each has left."""
    ones, others = _numbers_of_all(partials, place, rows, TILE, UNITS, PROGRAMS)
    one, other = ones[0], others[0]
    for chunk in tl.static_range(1, len(ones)):
        one += ones[chunk]
        other += others[chunk]
    return row_sum(one), row_sum(other)


@triton.jit
def _count(program, of_unit: tl.constexpr, H: tl.constexpr, UNITS: tl.constexpr):
    """How many numbers of a row a program has; 1 where it has none, to divide by."""
    return tl.maximum(tl.minimum(H - program * UNITS, UNITS) * of_unit, 1)


@triton.jit
def leave_moments(
    x, partials, place, rows, inside, H: tl.constexpr, UNITS: tl.constexpr, TILE: tl.constexpr,
    PROGRAMS: tl.constexpr,
):  # fmt: skip
    """The sum of x (TILE, UNITS) over a program's units, and of its squares about their mean."""
    total = row_sum(tl.where(inside, x, 0.0))
    x = centred(x, total / _count(tl.program_id(0), 1, H, UNITS), inside)
    leave_numbers(total, row_sum(x * x), partials, place, rows, TILE, PROGRAMS)


@triton.jit
def leave_moments_of_gates(
    i, f, g, o, partials, place, rows, inside, H: tl.constexpr, GATES: tl.constexpr,
    UNITS: tl.constexpr, TILE: tl.constexpr, PROGRAMS: tl.constexpr,
):  # fmt: skip
    """The same of R h of all gates together; outside, and where there is no gate, it is zero."""
    total = row_sum(i + f + g + o)
    own = total / _count(tl.program_id(0), GATES, H, UNITS)
    _, _, _, _, squares = centred_gates(i, f, g, o, own, inside, GATES)
    leave_numbers(total, row_sum(squares), partials, place, rows, TILE, PROGRAMS)


@triton.jit
def statistics(
    partials, place, rows, of_unit: tl.constexpr, H: tl.constexpr, UNITS: tl.constexpr,
    TILE: tl.constexpr, PROGRAMS: tl.constexpr, EPSILON: tl.constexpr,
):  # fmt: skip
    """The mean of a row's `of_unit` · H numbers, and one over its deviation: (TILE, 1) each.

    From the moments of the programs' parts, as Chan, Golub and LeVeque (1979) put them together:
    the difference of two large sums, which the sum of the squares would be, loses digits.
    """
    totals, squares = _numbers_of_all(partials, place, rows, TILE, UNITS, PROGRAMS)
    total = totals[0]
    for chunk in tl.static_range(1, len(totals)):
        total += totals[chunk]
    mean = row_sum(total) / (of_unit * H)
    square = tl.zeros_like(total)
    for chunk in tl.static_range(len(totals)):
        program = chunk * UNITS + tl.arange(0, UNITS)[None, :]
        count = _count(program, of_unit, H, UNITS)
        apart = tl.where(program * UNITS < H, totals[chunk] - count * mean, 0.0)
        square += squares[chunk] + apart * apart / count
    return mean, 1 / tl.sqrt(row_sum(square) / (of_unit * H) + EPSILON)
