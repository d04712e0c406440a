"""Measure fastlstm on a GPU, beside ``nn.LSTM`` and a compiled loop.

    python -m benchmarks.gpu                 # all, within 8 minutes, into benchmarks/RESULTS-gpu.md
    python -m benchmarks.gpu --sanitize      # every kernel under compute-sanitizer instead

On a machine that has PyTorch, Triton, NumPy, nanobind, CMake, ninja and a C++ compiler, but no
fastlstm, from a checkout:

    bash benchmarks/gpu_setup.sh && PYTHONPATH=src python3 -m benchmarks.gpu --output DIR

Every result is checked before it is timed. What may hang or crash runs in processes of its own,
which are ended where they do; the rest goes on. All that is found is written line by line to
``RESULTS-gpu.jsonl``, from which ``--report`` makes the page again. The exit status is 0; 1 where
something was wrong, crashed or hung; 2 where there is no GPU.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

if not __package__:  # python benchmarks/gpu.py
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import torch

from benchmarks import gpu_measure, gpu_plan, gpu_report, machine
from benchmarks.gpu_children import Children, Line
from benchmarks.gpu_contenders import contenders_of, own_names
from benchmarks.gpu_floor import Ceilings
from benchmarks.gpu_marks import Measurements, marks, rule_lines, rules
from benchmarks.gpu_plan import DEFAULT, Configuration, Item, Plan, Record, check_of
from benchmarks.gpu_sanitize import BINARY, sanitize
from benchmarks.marks import outcomes
from benchmarks.report import marks_grid

FOLDER = Path(__file__).resolve().parent
RESULTS, RAW = "RESULTS-gpu.md", "RESULTS-gpu.jsonl"

TIME_BUDGET = 480.0
CHECK_SHARE = 0.5
"""Of the time budget; what could not be checked in it is not timed."""
CHECK_LIMIT, TIME_LIMIT = 60.0, 30.0
"""For so many seconds a process may say nothing.

Of a check the longest part is the equations in float64 on the CPU; a compiler takes less for a
kernel, and has done so when it is timed.
"""
SAMPLES, TINY_SAMPLES = 15, 2
MOST_WORKERS = 8

BAD = ("WRONG", "CRASHED", "HUNG", "left out")


def main(arguments: Sequence[str] | None = None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parse(arguments)
    if options.report:
        lines = [json.loads(text) for text in options.report.read_text("utf-8").splitlines()]
        return finish(Run.of(lines, options), options, options.report.parent)
    if options.device == "cuda" and not torch.cuda.is_available():
        print("benchmarks.gpu: needs a GPU, and PyTorch finds none", file=sys.stderr)
        return 2
    if options.sanitize:
        return sanitized(options)
    run = Run(options, command_of(arguments))
    measure(run, gpu_plan.tiny_plan() if options.tiny else gpu_plan.plan())
    return finish(run, options, options.output)


def command_of(arguments: Sequence[str]) -> str:
    """The command as the page has it: the folder that it was written to is of one machine."""
    words = list(arguments)
    if "--output" in words:
        at = words.index("--output")
        del words[at : at + 2]
    return shlex.join(["python", "-m", "benchmarks.gpu", *words])


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu", description="Measure fastlstm on a GPU."
    )
    parser.add_argument("--time-budget", type=float, default=TIME_BUDGET, metavar="SECONDS")
    parser.add_argument("--output", type=Path, metavar="DIR", help="default: benchmarks/")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="a dry run: a few tiny shapes")
    parser.add_argument("--sanitize", action="store_true", help="only under compute-sanitizer")
    parser.add_argument("--report", type=Path, metavar="JSONL", help="only draw what it holds")
    parser.add_argument("--workers", type=int, help="processes that check at the same time")
    options = parser.parse_args(arguments)
    if options.output is None:
        # What is no measurement is not to replace one.
        options.output = None if options.tiny or options.device == "cpu" else FOLDER
    if options.workers is None:
        options.workers = max(1, min(MOST_WORKERS, (os.cpu_count() or 1) // 2))
    return options


class Run:
    """All that is found, as it is found."""

    def __init__(self, options: argparse.Namespace, command: str) -> None:
        self.options, self.command = options, command
        self.records: list[Record] = []
        self.facts: dict[str, str] = {}
        self.ceilings: dict[str, Any] = {}
        self.failures: list[str] = []
        self.missing: list[str] = []
        self.started = time.monotonic()
        self._lock = threading.Lock()
        self._file: Path | None = None
        if options.output is not None and not options.report:
            options.output.mkdir(parents=True, exist_ok=True)
            self._file = options.output / RAW
            self._file.write_text("", encoding="utf-8")

    @classmethod
    def of(cls, lines: Iterable[Line], options: argparse.Namespace) -> Run:
        """What another run has written."""
        run = cls(options, "")
        for line in lines:
            run.take(line)
        return run

    def keep(self, line: Line) -> None:
        """Take in a line, write it down and show it."""
        with self._lock:
            self.take(line)
            if self._file is not None:
                with self._file.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(line, ensure_ascii=False) + "\n")
            text = shown(line)
            if text:
                print(f"{time.monotonic() - self.started:6.1f} s  {text}", flush=True)

    def take(self, line: Line) -> None:
        """Take in a line."""
        if "record" in line:
            self.records.append(Record.from_json(json.dumps(line["record"])))
        elif "facts" in line:
            self.facts.update(line["facts"])
        elif "ceilings" in line:
            self.ceilings.update(line["ceilings"])
        elif "barrier" in line:
            self.ceilings["barrier"] = line["barrier"]
        elif "missing" in line:
            self.missing.append(line["missing"])
        elif "command" in line:
            self.command = line["command"]
        if "failure" in line or line.get("why"):
            self.failures.append(line.get("failure") or f"barrier: {line['why']}")

    @property
    def measured(self) -> Measurements:
        """The records and rates so far."""
        complete = "chip" in self.ceilings
        return Measurements(self.records, Ceilings.from_json(self.ceilings) if complete else None)


def shown(line: Line) -> str:
    """A line for people; an empty string for what only the report is for."""
    if "record" not in line:
        return json.dumps(line, ensure_ascii=False)
    found = Record.from_json(json.dumps(line["record"]))
    c = found.configuration
    if found.kind == "default" or found.note.startswith("refused"):
        return ""
    where = f"{found.kind} {c.part} {c.label} {c.dtype}"
    if found.kind == "time":
        where += f" {c.mode}"
    if found.note:
        return f"{where}, {found.contender}: {found.note}"
    if found.seconds is None:
        return f"{where}, {found.contender}: error {found.error:.1e}, allowed {found.allowed:.1e}"
    return f"{where}, {found.contender}: {found.seconds / c.steps * 1e6:.2f} µs a step"


def measure(run: Run, plan: Plan) -> None:
    """Checks, then rates and times, until the budget is used up."""
    options = run.options
    device = torch.device(options.device)
    end = run.started + options.time_budget
    run.keep({"command": run.command})
    run.keep({"facts": host_facts()})
    checks = check_items(plan, device)
    threads = max(1, (os.cpu_count() or 1) // options.workers)
    until = run.started + CHECK_SHARE * options.time_budget
    checking = Children(options.device, CHECK_LIMIT, until, run.keep, threads=threads)
    checking.check(checks, options.workers)
    items = timed_items(plan, run.records, device)
    samples = TINY_SAMPLES if options.tiny else SAMPLES
    Children(options.device, TIME_LIMIT, end, run.keep).time(items, samples)
    for text in missing(plan, run.records):
        run.keep({"missing": text})


def check_items(plan: Plan, device: torch.device) -> list[Item]:
    """What must be right, each once and in the order in which it is timed.

    The switches at sizes that fill no tile come before the stacks of layers, whose kernels are
    those of the single layer.
    """
    checked = list(dict.fromkeys(map(check_of, plan.timed)))
    single = [c for c in checked if c.layers == c.directions == 1]
    ordered = [*single, *plan.operators, *(c for c in checked if c not in single)]
    return [Item(c, contenders_of(c, device)) for c in ordered]


def timed_items(plan: Plan, records: Iterable[Record], device: torch.device) -> list[Item]:
    """What is to be timed: those that were right, and the default where it is none of them."""
    records = list(records)
    right = {(r.configuration, r.contender) for r in records if r.kind == "check" and not r.note}
    measured = Measurements(records)
    items = []
    for c in plan.timed:
        names = [n for n in contenders_of(c, device) if (check_of(c), n) in right]
        chosen = measured.default(c)
        if c.part in gpu_plan.PLAIN_PARTS and len(chosen) == 1 and chosen[0] in names:
            names = [name for name in names if name != DEFAULT]
        if names:
            items.append(Item(c, tuple(names)))
    return items


def missing(plan: Plan, records: Iterable[Record]) -> list[str]:
    """What of the plan has no time, and which checks were not made, by kind."""
    records = list(records)
    timed = {r.configuration for r in records if r.seconds is not None}
    checked = {r.configuration for r in records if r.kind == "check"}
    lines = []
    for what, all_of_them, done in (
        ("timed", plan.timed, timed),
        ("checked", tuple(dict.fromkeys(map(check_of, plan.timed))) + plan.operators, checked),
    ):
        totals = Counter(map(_group, all_of_them))
        left = Counter(_group(c) for c in all_of_them if c not in done)
        lines += [
            f"not {what}: {count} of {totals[group]} of {group}" for group, count in left.items()
        ]
    return lines


def _group(c: Configuration) -> str:
    stack = f", {c.layers} layers" if c.layers > 1 else ""
    return f"{c.part}{stack}{', both directions' if c.bidirectional else ''}"


def host_facts() -> dict[str, str]:
    """The date, the driver and the host."""
    return {
        "Date": f"{date.today():%Y-%m-%d}",
        "Driver": _driver(),
        "Host": f"{machine.cpu_model()}, {os.cpu_count()} cores, Python {sys.version.split()[0]}",
    }


def _driver() -> str:
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.check_output(command, text=True, timeout=30).strip().splitlines()[0]
    except (OSError, subprocess.SubprocessError, IndexError):
        return "unknown"


def finish(run: Run, options: argparse.Namespace, folder: Path | None) -> int:
    """Write the page and say what matters of it."""
    measured = run.measured
    about = gpu_report.ABOUT.format(
        samples=TINY_SAMPLES if options.tiny else SAMPLES,
        few=gpu_measure.FEW,
        slow=f"{gpu_measure.SLOW:g}",
        check_steps=gpu_plan.CHECK_STEPS,
        loop=gpu_plan.LOOP,
        loop_steps=gpu_plan.LOOP_STEPS,
    )
    notes = [*run.missing, *run.failures]
    if folder is not None:
        text = gpu_report.markdown(measured, run.facts, notes, run.command, about)
        (folder / RESULTS).write_text(text, encoding="utf-8")
        print(f"wrote {folder / RESULTS}")
    bad = [text for text in gpu_report.failures(run.records) if any(f": {b}" in text for b in BAD)]
    # The marks last: of a long output the end is what people see.
    print("\n".join([*rule_lines(rules(measured)), *bad, *notes]))
    print(marks_grid(outcomes(measured, marks())).markdown())
    return 1 if bad or run.failures else 0


def sanitized(options: argparse.Namespace) -> int:
    """Every back end under the sanitizer's tools."""
    names = [n for n in own_names(torch.device(options.device)) if n != "engine"]
    deadline = time.monotonic() + options.time_budget
    found = sanitize(names, options.device, deadline, print)
    if found is None:
        print(f"benchmarks.gpu: {BINARY} is not on the PATH: nothing was sanitized")
        return 1
    return 0 if all(finding.clean for finding in found) else 1


if __name__ == "__main__":
    sys.exit(main())
