"""The page of results, from the runs that are kept."""

import statistics
from collections.abc import Iterable, Mapping, Sequence

from benchmarks.quality.benchmark import Benchmark, Mark
from benchmarks.quality.records import Run, by_seed

EMPTY = "–"
SEEDS = 3
"""Whose median counts, but of runs so long that one of them has to do."""
LONG_MINUTES = 10

INTRODUCTION = """\
# Results on held-out data

What the estimators score with their shipped defaults, written by `python -m benchmarks.quality`. Of
several seeds the median counts, and the score of each stands beside it. No setting was chosen on
test data. The time is that of one seed's training, reading the data included; of several parts
(folds, horizons) it is that of all.
"""


def render(benchmarks: Mapping[str, Benchmark], runs: Mapping[str, Sequence[Run]]) -> str:
    """The whole page, Markdown."""
    lines = [
        INTRODUCTION,
        "| data | measure | mark | median | seeds | | published | minutes |",
        "|---|---|---:|---:|---|---|---|---:|",
    ]
    for name, benchmark in benchmarks.items():
        lines += [_row(benchmark, mark, runs.get(name, ())) for mark in benchmark.marks]
    lines += ["", "## How they were measured", ""]
    for name, benchmark in benchmarks.items():
        lines += _circumstances(name, benchmark, runs.get(name, ()))
    return "\n".join(lines) + "\n"


def verdict(mark: Mark, values: Sequence[float], minutes: Sequence[float]) -> str:
    """Whether a mark is met by the median of the seeds, in words."""
    if not values:
        return "not measured"
    value = statistics.median(values)
    if not (value >= mark.limit if mark.at_least else value < mark.limit):
        return "missed"
    if mark.minutes is not None and statistics.median(minutes) > mark.minutes:
        return f"missed: longer than {mark.minutes:g} min"
    if len(values) < SEEDS and statistics.median(minutes) < LONG_MINUTES:
        return f"met, by {len(values)} of {SEEDS} seeds"
    return "met"


def _row(benchmark: Benchmark, mark: Mark, runs: Sequence[Run]) -> str:
    seeds = by_seed(runs, benchmark)
    values = [mark.value({part: run.scores for part, run in of.items()}) for of in seeds.values()]
    minutes = [sum(run.seconds for run in of.values()) / 60 for of in seeds.values()]
    cells = [
        benchmark.title,
        mark.measure,
        ("≥ " if mark.at_least else "< ") + number(mark, mark.limit),
        number(mark, statistics.median(values)) if values else EMPTY,
        ", ".join(number(mark, value) for value in values) or EMPTY,
        verdict(mark, values, minutes),
        mark.published or EMPTY,
        f"{statistics.median(minutes):.1f}" if minutes else EMPTY,
    ]
    return "| " + " | ".join(cells) + " |"


def number(mark: Mark, value: float) -> str:
    """A figure as its mark shows it."""
    return f"{value:.2%}".replace("%", " %") if mark.per_cent else f"{value:.{mark.digits}f}"


def _circumstances(name: str, benchmark: Benchmark, runs: Sequence[Run]) -> list[str]:
    if not runs:
        return [f"- {benchmark.title}: not measured; `python -m benchmarks.quality {name}`"]
    parts = f", {len(benchmark.parts)} parts" if len(benchmark.parts) > 1 else ""
    return [
        f"- {benchmark.title}: `python -m benchmarks.quality {name}`{parts}, "
        f"seeds {_listed(run.seed for run in runs)}, "
        f"threads {_listed(run.threads for run in runs)}, "
        f"load of the machine before {_range(run.load for run in runs)}; "
        + "; ".join(_each(f"{run.machine}, {_versions(run)}, {run.date}" for run in runs))
    ]


def _versions(run: Run) -> str:
    return ", ".join(f"{name} {version}" for name, version in run.versions.items())


def _listed(values: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(set(values))))


def _range(values: Iterable[float]) -> str:
    found = sorted(values)
    first, last = f"{found[0]:.1f}", f"{found[-1]:.1f}"
    return first if first == last else f"{first} to {last}"


def _each(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))
