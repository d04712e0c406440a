"""What was measured, as JSON on the disk: a file for each benchmark, a run for each seed and part.

A run is kept as soon as it is measured, so that a benchmark of hours can be stopped and go on.
"""

import json
import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from benchmarks.machine import cpu_model
from benchmarks.quality.benchmark import Benchmark, estimator_settings
from fastlstm.atomic import write_atomically

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("fastlstm", "torch", "numpy", "scikit-learn")


@dataclass(frozen=True)
class Run:
    """One training and its scores."""

    seed: int
    part: str
    scores: dict[str, float]
    seconds: float  # of the training alone
    settings: dict[str, Any]  # of the estimator: a run with others is no longer one of the defaults
    threads: int
    load: float  # of the machine, of the minute before the training
    date: str
    machine: str
    versions: dict[str, str]


def measure(benchmark: Benchmark, part: str, seed: int) -> Run:
    """Train and score one part of a benchmark."""
    estimator = benchmark.estimator(part, seed)
    settings = estimator_settings(estimator)
    load = os.getloadavg()[0]
    start = time.perf_counter()
    test = benchmark.train(estimator, part)
    seconds = time.perf_counter() - start
    return Run(
        seed=seed,
        part=part,
        scores=test(),
        seconds=seconds,
        settings=settings,
        threads=torch.get_num_threads(),
        load=load,
        date=f"{date.today():%Y-%m-%d}",
        machine=f"{cpu_model()}, {os.cpu_count()} cores",
        versions={
            "Python": platform.python_version(),
            **{name: metadata.version(name) for name in PACKAGES},
        },
    )


def read_runs(name: str, folder: Path | None = None) -> list[Run]:
    """The runs of a benchmark that are kept, in the order of their seeds."""
    path = (folder or RESULTS) / f"{name}.json"
    if not path.exists():
        return []
    return [Run(**found) for found in json.loads(path.read_text(encoding="utf-8"))]


def keep_run(name: str, run: Run, folder: Path | None = None) -> None:
    """Add a run to its benchmark's file, in the place of one of the same seed and part."""
    others = [
        found
        for found in read_runs(name, folder)
        if (found.seed, found.part) != (run.seed, run.part)
    ]
    runs = [asdict(found) for found in sorted([*others, run], key=lambda found: found.seed)]
    path = (folder or RESULTS) / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    write_atomically(path, json.dumps(runs, indent=1, ensure_ascii=False) + "\n")


def is_current(run: Run, benchmark: Benchmark) -> bool:
    """Whether a run was made with the estimator's present defaults."""
    settings = estimator_settings(benchmark.estimator(run.part, run.seed))
    return run.settings == json.loads(json.dumps(settings))


def by_seed(runs: Sequence[Run], benchmark: Benchmark) -> dict[int, Mapping[str, Run]]:
    """The seeds of which every part was measured, each with the runs of its parts."""
    found: dict[int, dict[str, Run]] = {}
    for run in runs:
        found.setdefault(run.seed, {})[run.part] = run
    return {seed: parts for seed, parts in found.items() if set(parts) == set(benchmark.parts)}
