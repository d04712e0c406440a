"""The command line: measure what is not kept yet, and write the page."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.quality import page
from benchmarks.quality.benchmark import Benchmark
from benchmarks.quality.classification import CLASSIFICATION
from benchmarks.quality.forecasting import FORECASTING
from benchmarks.quality.records import RESULTS, Run, is_current, keep_run, measure, read_runs
from benchmarks.quality.tagging import TAGGING
from fastlstm.atomic import write_atomically

BENCHMARKS: dict[str, Benchmark] = {**CLASSIFICATION, **TAGGING, **FORECASTING}
PAGE = Path(__file__).parents[2] / "docs" / "results.md"
BUSY_LOAD = 0.5
"""Of the last minute, from which on something else is running."""


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    torch.set_num_threads(options.threads)
    load = os.getloadavg()[0]
    if options.names and load > BUSY_LOAD:
        print(f"the machine is busy (load {load:.1f}): the times will be off", flush=True)
    for name in options.names:
        for seed in range(options.seeds):
            for part in BENCHMARKS[name].parts:
                if options.again or not is_kept(name, part, seed):
                    run = measure(BENCHMARKS[name], part, seed)
                    keep_run(name, run, RESULTS)
                    write_page()
                    print(progress_line(name, run), flush=True)
    write_page()
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.quality",
        description="Train with the shipped defaults, measure on held-out data, and write "
        "docs/results.md. A run that is kept, with the same settings, is not made again: what was "
        "stopped goes on.",
    )
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"what to measure: {', '.join(BENCHMARKS)}; none: only write the page anew",
    )
    parser.add_argument("--seeds", type=_count, default=3, help="0, 1, …: so many (3)")
    parser.add_argument("--threads", type=_count, default=2, help="of the CPU (2)")
    parser.add_argument("--again", action="store_true", help="measure also what is kept")
    options = parser.parse_args(arguments)
    for name in options.names:
        if name not in BENCHMARKS:
            parser.error(f"unknown name {name!r}: expected some of {', '.join(BENCHMARKS)}")
    return options


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError
    return value


def is_kept(name: str, part: str, seed: int) -> bool:
    """Whether this was measured with the present defaults."""
    found = [run for run in read_runs(name, RESULTS) if (run.seed, run.part) == (seed, part)]
    return bool(found) and is_current(found[0], BENCHMARKS[name])


def progress_line(name: str, run: Run) -> str:
    """A run as soon as it is measured."""
    scores = ", ".join(f"{score} {value:.4f}" for score, value in run.scores.items())
    place = " ".join(filter(None, [name, run.part]))
    return f"{place}, seed {run.seed}: {scores}; {run.seconds:.0f} s"


def write_page() -> None:
    """Write docs/results.md from what is kept of the present defaults."""
    runs = {
        name: [run for run in read_runs(name, RESULTS) if is_current(run, benchmark)]
        for name, benchmark in BENCHMARKS.items()
    }
    write_atomically(PAGE, page.render(BENCHMARKS, runs))


if __name__ == "__main__":
    sys.exit(main())
