"""A kernel that does nothing but wait at barriers of all its programs, to measure one."""

import triton
import triton.language as tl


@triton.jit
def barriers(counter, ROUNDS: tl.constexpr, PROGRAMS: tl.constexpr):
    """Meet ``ROUNDS`` times; ``counter`` is one int32, zero before."""
    for number in range(1, ROUNDS + 1):
        tl.debug_barrier()
        met = tl.atomic_add(counter, 1, sem="release", scope="gpu") + 1
        while met < PROGRAMS * number:
            met = tl.atomic_add(counter, 0, sem="acquire", scope="gpu")
        tl.debug_barrier()
