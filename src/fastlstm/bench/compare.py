"""Check and time: nothing gets a speed before its results are right."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from fastlstm.bench.check import disagreement
from fastlstm.bench.contender import Entry
from fastlstm.bench.problem import UnavailableError
from fastlstm.bench.timing import Run, alternate, prepare, sample


@dataclass(frozen=True)
class PeerResult:
    """A peer's time and the ratio, or a note that says why there are none."""

    seconds: float | None = None  # the median over the pairs
    ratio: float | None = None  # the median over the pairs of the peer's time over ours
    note: str = ""


@dataclass(frozen=True)
class Comparison:
    """Our time beside each peer's. With a ``failure`` nothing was timed."""

    seconds: float | None = None  # the median over all our samples
    failure: str = ""
    pairs: int = 0
    peers: dict[str, PeerResult] = field(default_factory=dict)


def measure(ours: Entry, peers: Sequence[Entry], dtype: str, pairs: int) -> Comparison:
    """Check ours and each peer, then time all that are right.

    Args:
        ours: what the ratios are about. If it is wrong, nothing is timed.
        peers: each is left out if it is unavailable or wrong, with a note.
        dtype: the precision, which decides the tolerance of the check.
        pairs: how many pairs to time with each peer.
    """
    own_run, failure = _checked_run(ours, dtype)
    if own_run is None:
        return Comparison(failure=failure)
    results: dict[str, PeerResult] = {}
    runs: dict[str, Run] = {}
    for peer in peers:
        run, note = _checked_run(peer, dtype)
        if run is None:
            results[peer.name] = PeerResult(note=note)
        else:
            runs[peer.name] = run
    own_seconds = []
    timed = alternate(own_run, list(runs.values()), pairs)
    for name, found in zip(runs, timed, strict=True):
        own_seconds += [pair.ours for pair in found]
        results[name] = PeerResult(
            statistics.median(pair.peer for pair in found),
            statistics.median(pair.peer / pair.ours for pair in found),
        )
    if not runs:
        own_seconds = [sample(own_run) for _ in range(pairs)]
    return Comparison(
        statistics.median(own_seconds),
        pairs=pairs,
        peers={peer.name: results[peer.name] for peer in peers},
    )


def _checked_run(entry: Entry, dtype: str) -> tuple[Run | None, str]:
    """The contender ready to be timed; or None, and why it cannot be."""
    try:
        contender = entry.make()
        rounded = contender.rounded() if contender.rounded else None
        wrong = disagreement(contender.results(), contender.expected(), dtype, rounded)
        return (None, f"FAILED: {wrong}") if wrong else (prepare(contender.call), "")
    except UnavailableError as error:
        return None, str(error)
    except Exception as error:
        # Whatever it is, it is this cell's: a long table is not lost to one of its peers.
        first_line = (str(error).splitlines() or [""])[0]
        return None, f"FAILED: {type(error).__name__}: {first_line}"
