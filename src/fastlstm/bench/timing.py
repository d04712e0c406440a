"""The clock: two runs in turn, many times, so that what disturbs one disturbs the other."""

import gc
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

PAIRS = 15
"""How many pairs make a figure, unless asked otherwise."""

SAMPLE_SECONDS = 2e-3
"""A sample lasts at least this long: far above the clock's resolution and a call's jitter."""

SETTLE_SECONDS, SETTLE_TRIES, IDLE_SHARE = 10e-3, 50, 0.1
"""Before each sample: pauses of this length, until the process is idle in one.

The workers of the library that ran last go on spinning after their work, OpenMP's for about 10 ms
and ONNX Runtime's for 50, on the cores that the next one needs. A pause must be longer than the
tick (4 ms) at which the system accounts for a running thread.
"""

LONG_SECONDS = 50e-3
"""A run from this length on needs no untimed run before it: its own start is lost in it."""


class Run(NamedTuple):
    """Something to time, and how many times in a row to make a sample of it."""

    call: Callable[[], object]
    repetitions: int
    warm_up: bool  # whether an untimed call comes before each sample


class Pair(NamedTuple):
    """The seconds that one call took, ours and the peer's beside it."""

    ours: float
    peer: float


def prepare(call: Callable[[], object]) -> Run:
    """Warm up, and choose the repetitions that make a sample long enough."""
    call()
    seconds = min(_seconds(call, 1) for _ in range(2))
    repetitions = 1
    # By doubling, as the first calls are often slower than those after.
    while seconds * repetitions < SAMPLE_SECONDS:
        repetitions = min(2 * repetitions, math.ceil(SAMPLE_SECONDS / seconds))
        seconds = _seconds(call, repetitions)
    return Run(call, repetitions, seconds < LONG_SECONDS)


def alternate(ours: Run, peers: Sequence[Run], pairs: int) -> list[list[Pair]]:
    """Time each peer in pairs with ours: for each peer, its pairs.

    All peers have their first pair before any has its second, so that a slow spell of the machine
    is shared; and who comes first in a pair changes from one to the next.
    """
    result: list[list[Pair]] = [[] for _ in peers]
    with no_garbage_collection():
        for index in range(pairs):
            for found, peer in zip(result, peers, strict=True):
                if index % 2 == 0:
                    own, other = sample(ours), sample(peer)
                else:
                    other, own = sample(peer), sample(ours)
                found.append(Pair(own, other))
    return result


def sample(run: Run) -> float:
    """The seconds of one call, as the mean over the run's repetitions."""
    _settle()
    if run.warm_up:
        run.call()
    return _seconds(run.call, run.repetitions)


def _settle() -> None:
    for _ in range(SETTLE_TRIES):
        before = time.process_time()
        time.sleep(SETTLE_SECONDS)
        if time.process_time() - before < IDLE_SHARE * SETTLE_SECONDS:
            return


def _seconds(call: Callable[[], object], repetitions: int) -> float:
    start = time.perf_counter()
    for _ in range(repetitions):
        call()
    return (time.perf_counter() - start) / repetitions


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """A block that the collector of garbage leaves alone; it has run just before."""
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
