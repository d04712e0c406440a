"""What `fastlstm train` does."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from fastlstm.cli.errors import CommandError, CommandInterruptedError
from fastlstm.cli.options import PLAIN, data_from, overrides_from
from fastlstm.report import duration, score_table
from fastlstm.runs import Parts, Run, Task, finish, read_settings
from fastlstm.runs.run import check_new
from fastlstm.training import Interrupted, TrainingDisplay, check_hardware


def start(task: Task, values: Mapping[str, Any], console: Console) -> None:
    """Train anew, or go on with a run where `resume` names one.

    Args:
        task: what is trained.
        values: of the options, by name.
        console: where to write.

    Raises:
        CommandError: `resume` with other options, or neither a run nor a source.
    """
    if values["resume"] is not None:
        refuse_others(values, ("resume",))
        run = Run.open(values["resume"])
        if run.task.name != task.name:
            raise CommandError(
                f"{run.path} is a run of {run.task.name}: expected "
                f"'fastlstm train {run.task.name} --resume'"
            )
    else:
        run = new_run(task, values)
        check_new(run.path)
    train(run, console)


def new_run(task: Task, values: Mapping[str, Any]) -> Run:
    """The run that the options describe; nothing is written yet."""
    source = source_of(task, values)
    data = data_from(task.data, source, values)
    settings = read_settings(task.settings, values["config"], overrides_from(values))
    output = values["output"]
    if output is None:
        output = Path("runs") / f"{Path(source).stem}-{datetime.now():%Y%m%d-%H%M%S}"
    return Run(output, task, data, settings)


def refuse_others(values: Mapping[str, Any], allowed: tuple[str, ...]) -> None:
    """Raise where, beside a folder to go on with, other options were given.

    Raises:
        CommandError: one was.
    """
    for name, value in values.items():
        if name not in allowed and value not in (None, False, [], ()):
            shown = "SOURCE" if name == "source" else f"--{name.replace('_', '-')}"
            raise CommandError(
                f"--resume goes on with its own data and settings: expected no {shown}"
            )


def source_of(task: Task, values: Mapping[str, Any]) -> str:
    """The source that was given.

    Raises:
        CommandError: there is none.
    """
    if values["source"] is None:
        raise CommandError(f"missing SOURCE: expected {', '.join(task.sets)}, or a path")
    return values["source"]


def train(run: Run, console: Console) -> None:
    """Read, train, measure, report; an interrupted run says how it goes on."""
    check_hardware(run.settings.training)
    parts = run.read()
    console.print(describe(parts), **PLAIN)
    console.print()
    try:
        with TrainingDisplay(console, parts.noun) as display:
            estimator = run.fit(parts, display)
    except Interrupted as error:
        command = f"fastlstm train {run.task.name} --resume {shlex.quote(str(run.path))}"
        place = str(error).partition(";")[0]
        raise CommandInterruptedError(f"{place}; to go on: {command}") from error
    outcome = finish(run, estimator, parts)
    console.print(score_table(outcome.scores))
    took = f"trained in {duration(outcome.seconds)}, saved in {run.path}"
    console.print(f"{took}; look at {run.path / 'report.html'}", **PLAIN)


def describe(parts: Parts) -> str:
    """The parts in a line: `digits: 1,293 training, 144 validation, 360 test images`."""
    sizes = [f"{len(parts.train):,} training"]
    if parts.validation is not None:
        sizes.append(f"{len(parts.validation):,} validation")
    sizes.append(f"{len(parts.test):,} test {parts.noun}")
    note = f" ({parts.note})" if parts.note else ""
    return f"{parts.name}: {', '.join(sizes)}{note}"
