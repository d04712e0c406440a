"""What both kernels of the back end "triton-grid" share: weights on the chip, products, a barrier.

A program has some rows of the weights, and multiplies them in every time step by a vector for each
row of the batch. It reads its weights once, in `slices`: those that are read before the loop over
time stay in shared memory, as all of a projection do, and those that the loop hands on from turn to
turn stay in registers.

The terms of a sum are spread over the warps, so that no warp reads weights that another has; at the
end the warps' sums are added up. Numbers of 16 bits have one part. Float32 has PARTS parts, of
bfloat16, each of which holds the next eight binary digits of the number. Of the products of parts
those are left out that are smaller than 2^-24 (three parts) or 2^-16 (two) of the whole. Emulated,
sums of 1,024 terms are wrong by 3.5e-7 (three) and 3.7e-6 (two) of their norm, where a product in
float32 is by 2.5e-7, and one in TF32 by 2.6e-4. What is infinite becomes NaN in parts.

The floor of a barrier is two trips to the second-level cache, an arrival and a look: 1 to 2 µs.
"""

# To a type checker a kernel's function raises, as it does when it is called from outside of one.
# pyright: reportGeneralTypeIssues=false

import triton
import triton.language as tl

# A slice has DEPTH terms for each of SPLIT warps, SPAN in all; see `triton_grid_plan.py`.
SPLIT = tl.constexpr(8)
DEPTH = tl.constexpr(32)
SPAN = tl.constexpr(8 * 32)


@triton.jit
def slices(
    weight, FIRST: tl.constexpr, LAST: tl.constexpr, OUTPUTS: tl.constexpr, CHUNKS: tl.constexpr
):
    """Those numbered FIRST to LAST of a program's weights (PARTS, OUTPUTS, CHUNKS · SPAN).

    Each is (SPLIT, OUTPUTS, DEPTH). The first part comes first, and of a part the first chunk of
    SPAN terms.
    """
    warp = tl.arange(0, SPLIT)[:, None, None]
    output = tl.arange(0, OUTPUTS)[None, :, None]
    term = tl.arange(0, DEPTH)[None, None, :]
    at = output * (CHUNKS * SPAN) + warp * DEPTH + term
    found = ()
    for number in tl.static_range(FIRST, LAST):
        of_part = weight + (number // CHUNKS) * (OUTPUTS * CHUNKS * SPAN)
        found += (tl.load(of_part + (number % CHUNKS) * SPAN + at),)
    return found


@triton.jit
def nothing(dtype: tl.constexpr, COUNT: tl.constexpr, OUTPUTS: tl.constexpr):
    """As many slices of zeros, for a loop to start from."""
    found = ()
    for _ in tl.static_range(COUNT):
        found += (tl.zeros((SPLIT, OUTPUTS, DEPTH), dtype),)
    return found


@triton.jit
def _numbered(held, resident, NUMBER: tl.constexpr, HELD: tl.constexpr):
    """A slice in registers or in shared memory."""
    return held[NUMBER] if NUMBER < HELD else resident[NUMBER - HELD]


@triton.jit
def product(
    held, resident, vectors, work: tl.constexpr,
    OUTPUTS: tl.constexpr, TILE: tl.constexpr, CHUNKS: tl.constexpr, PARTS: tl.constexpr,
    HELD: tl.constexpr, BATCH: tl.constexpr,
):  # fmt: skip
    """The weights, of which the first HELD slices are `held`, times `vectors`: (OUTPUTS, TILE).

    The vectors are in memory, (PARTS, TILE, CHUNKS · SPAN), and other programs have just written
    them. They are read around the cache of the processor, which does not know of that, and BATCH
    chunks at a time, as many as there is room for.
    """
    warp = tl.arange(0, SPLIT)[:, None, None]
    term = tl.arange(0, DEPTH)[None, :, None]
    row = tl.arange(0, TILE)[None, None, :]
    at = row * (CHUNKS * SPAN) + warp * DEPTH + term
    total = tl.zeros((SPLIT, OUTPUTS, TILE), work)
    for begin in tl.static_range(0, CHUNKS, BATCH):
        seen = ()
        for number in tl.static_range(BATCH * PARTS):  # all on their way before one is needed
            if begin + number // PARTS < CHUNKS:
                of_part = vectors + (number % PARTS) * (TILE * CHUNKS * SPAN)
                of_chunk = of_part + (begin + number // PARTS) * SPAN
                seen += (tl.load(of_chunk + at, cache_modifier=".cg"),)
        for chunk in tl.static_range(BATCH):
            if begin + chunk < CHUNKS:
                for left_out in tl.static_range(PARTS):  # the smallest products first
                    for part in tl.static_range(PARTS - left_out):
                        weights = _numbered(held, resident, part * CHUNKS + begin + chunk, HELD)
                        others = seen[chunk * PARTS + PARTS - 1 - left_out - part]
                        total = tl.dot(weights, others, total, out_dtype=work)
    return _over_warps(total, OUTPUTS, TILE)


@triton.jit
def _over_warps(total, OUTPUTS: tl.constexpr, TILE: tl.constexpr):
    """The sum over the first dimension, SPLIT.

    By halves: the compiler then has each thread fetch all the numbers that it adds up at once, and
    leaves it one sum of its own. `tl.sum` would have the threads of a warp pass them on one by one,
    and all warps do the same work with the sums.
    """
    halves = tl.permute(tl.reshape(total, (2, 2, 2, OUTPUTS, TILE)), (3, 4, 0, 1, 2))
    even, odd = tl.split(halves)
    even, odd = tl.split(even + odd)
    even, odd = tl.split(even + odd)
    return even + odd


@triton.jit
def leave_share(share, shares, of_programs, OUTPUTS: tl.constexpr, TILE: tl.constexpr):
    """Write a program's share (OUTPUTS, TILE) of the sums of a tile."""
    rows = tl.arange(0, TILE)[:, None]
    at = rows * OUTPUTS + tl.arange(0, OUTPUTS)[None, :]
    tl.store(shares + of_programs * (TILE * OUTPUTS) + at, tl.trans(share))


@triton.jit
def add_up_shares(
    shares, of_programs, rows, OWN: tl.constexpr, SHARES: tl.constexpr, TILE: tl.constexpr,
    work: tl.constexpr,
):  # fmt: skip
    """The OWN sums of a program, (TILE, OWN), from all their shares."""
    number = tl.program_id(0) % SHARES
    at = rows * (SHARES * OWN) + number * OWN + tl.arange(0, OWN)[None, :]
    found = tl.zeros((TILE, OWN), work)
    for other in tl.static_range(SHARES):
        of_other = shares + (of_programs - number + other) * (TILE * SHARES * OWN)
        found += tl.load(of_other + at, cache_modifier=".cg")
    return found


@triton.jit
def hand_over(
    value, vectors, rows, terms, inside,
    TILE: tl.constexpr, CHUNKS: tl.constexpr, PARTS: tl.constexpr,
):  # fmt: skip
    """Write a value (TILE, ·) as those terms of `vectors` (shares, PARTS, TILE, CHUNKS · SPAN)."""
    WIDTH: tl.constexpr = CHUNKS * SPAN
    at = terms // WIDTH * (PARTS * TILE * WIDTH) + rows * WIDTH + terms % WIDTH
    rest = value
    for part in tl.static_range(PARTS):
        rounded = rest.to(vectors.dtype.element_ty)
        tl.store(vectors + part * (TILE * CHUNKS * SPAN) + at, rounded, mask=inside)
        rest -= rounded.to(rest.dtype)


@triton.jit
def arrive(arrived):
    """Tell the other programs that what this one has written until now is there to be read."""
    tl.debug_barrier()
    tl.atomic_add(arrived, 1, sem="release", scope="gpu")


@triton.jit
def wait_for_all(arrived, expected):
    """Go on when so many programs have arrived.

    All of them must be on the device at once: a cooperative launch sees to that.
    """
    while tl.atomic_add(arrived, 0, sem="acquire", scope="gpu") < expected:
        pass
    tl.debug_barrier()
