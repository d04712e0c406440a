"""The benchmark's command line: plan the measuring processes, run them, report."""

import argparse
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from pathlib import Path

from rich.console import Console

from benchmarks import machine
from benchmarks.floor import Caches, Calibration
from benchmarks.marks import Measured
from benchmarks.records import PARTS, Record, Task
from benchmarks.report import calibration_lines, grids, results_markdown
from benchmarks.shapes import QUICK_SHAPES, SHAPES
from fastlstm.bench import DTYPES, PAIRS, PEERS, cores

FOLDER = Path(__file__).parent
RESULTS, PICTURE = FOLDER / "RESULTS.md", FOLDER / "results.png"
MODES = ("inference", "training")
THREADS = (1, 2)
QUICK_PAIRS = 3
PIPE_COLUMNS = 150
BUSY_LOAD = 0.5
"""Of the last minute, from which on something else is running."""


def main(arguments: Sequence[str] | None = None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parse(arguments)
    # rich takes a pipe to be 80 columns wide, which would break every cell.
    console = Console(width=None if sys.stdout.isatty() else PIPE_COLUMNS)
    if max(options.threads) > cores():
        print(
            f"benchmarks: {max(options.threads)} threads need as many cores, there are {cores()}",
            file=sys.stderr,
        )
        return 2
    for name in options.peers:
        if not PEERS[name].installed:
            console.print(f"{PEERS[name].name}: not installed, left out (make bench installs it)")
    load = os.getloadavg()[0]
    if load > BUSY_LOAD:
        console.print(f"the machine is busy (load {load:.1f}): the figures will be off")
    measured = run(options, console)
    for grid in grids(measured):
        console.print(grid.rich())
    if options.write:
        command = shlex.join(["python", "-m", "benchmarks", *arguments])
        text = results_markdown(
            measured,
            {**machine.describe(), "Load at the start": f"{load:.1f}"},
            f"{date.today():%Y-%m-%d}",
            command,
            options.pairs,
        )
        # Here, as a part that writes nothing needs no matplotlib.
        from benchmarks.chart import draw

        draw(measured, PICTURE)
        RESULTS.write_text(text, encoding="utf-8")
        console.print(f"wrote {RESULTS.name} and {PICTURE.name}")
    return 0


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The options; everything is measured unless they say less."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measure fastlstm beside its peers."
    )
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument(
        "--shapes", nargs="+", choices=SHAPES, default=tuple(SHAPES), metavar="TxBxIxHxL"
    )
    parser.add_argument("--threads", nargs="+", type=int, choices=THREADS, default=THREADS)
    parser.add_argument("--mode", nargs="+", choices=MODES, default=MODES)
    parser.add_argument("--dtype", nargs="+", choices=DTYPES, default=tuple(DTYPES))
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=tuple(PEERS))
    parser.add_argument("--pairs", type=_positive, default=PAIRS)
    parser.add_argument("--quick", action="store_true", help="two small shapes, few pairs")
    parser.add_argument("--write", action="store_true", help="write the results of a part, too")
    options = parser.parse_args(arguments)
    if options.quick:
        options.parts, options.shapes, options.pairs = PARTS[:1], QUICK_SHAPES, QUICK_PAIRS
    everything = {
        "parts": PARTS,
        "shapes": SHAPES,
        "threads": THREADS,
        "mode": MODES,
        "dtype": DTYPES,
        "peers": PEERS,
    }
    options.full = options.pairs >= PAIRS and all(
        set(getattr(options, name)) == set(values) for name, values in everything.items()
    )
    options.write = options.write or options.full
    return options


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError
    return value


def run(options: argparse.Namespace, console: Console) -> Measured:
    """Measure all that the options ask for, one process after another."""
    calibrations = {}
    for threads in options.threads:
        (line,) = measure_in_process(Task("calibration", threads))
        values = json.loads(line)
        calibrations[threads] = Calibration(**{**values, "caches": Caches(**values["caches"])})
    for text in calibration_lines(calibrations.values()):
        console.print(f"measured rates, {text}", highlight=False)
    records = []
    for task in tasks(options):
        for line in measure_in_process(task):
            records.append(Record.from_json(line))
            console.print(progress_line(records[-1]), highlight=False, markup=False)
    if not options.full:
        return Measured(records, calibrations)
    return Measured(records, calibrations, machine.import_seconds(), machine.build_seconds())


def tasks(options: argparse.Namespace) -> Iterator[Task]:
    """A process for each number of threads, mode and precision."""
    for part in options.parts:
        for threads in options.threads:
            for mode in options.mode:
                # What only this library has is measured in one precision.
                for dtype in options.dtype if part == "shapes" else ["float32"]:
                    yield Task(
                        part,
                        threads,
                        mode,
                        dtype,
                        tuple(options.shapes) if part == "shapes" else (),
                        tuple(options.peers) if part == "shapes" else (),
                        options.pairs,
                    )


def measure_in_process(task: Task) -> Iterable[str]:
    """Run a task in a process of its own and yield the lines that it prints."""
    # What these libraries read when they are loaded. Each works with the others' threads asleep.
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    environment = {**os.environ, **{name: str(task.threads) for name in names}}
    command = [sys.executable, "-m", "benchmarks.worker", task.to_json()]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=environment, cwd=FOLDER.parent
    ) as process:
        assert process.stdout is not None
        yield from (line for line in process.stdout if line.startswith("{"))
    if process.returncode:
        raise SystemExit(f"benchmarks: the process that measured {task} ended with an error")


def progress_line(record: Record) -> str:
    """A row as soon as it is measured."""
    comparison = record.comparison
    ratios = [
        f"{name} {peer.note or f'{peer.ratio:.2f}×'}" for name, peer in comparison.peers.items()
    ]
    time = comparison.failure or f"{(comparison.seconds or 0) * 1e3:.3g} ms"
    place = f"{record.part} {record.mode} {record.dtype} threads {record.threads} {record.label}"
    return f"{place}: {time}; over {', '.join(ratios)}" if ratios else f"{place}: {time}"


if __name__ == "__main__":
    sys.exit(main())
