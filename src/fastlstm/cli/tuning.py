"""What `fastlstm tune` does."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from fastlstm.cli.errors import CommandError, CommandInterruptedError
from fastlstm.cli.options import PLAIN, data_from, overrides_from
from fastlstm.cli.training import describe, refuse_others, source_of
from fastlstm.runs import Task, Trial, Tuning, parse_space, read_settings
from fastlstm.training import Interrupted

TRIALS = 20


def tune(task: Task, values: Mapping[str, Any], console: Console) -> None:
    """Search for settings, or go on with a search where `resume` names one.

    Raises:
        CommandError: `resume` with other options than `trials`, or neither it nor a source.
    """
    if values["resume"] is not None:
        refuse_others(values, ("resume", "trials"))
        tuning = Tuning.open(values["resume"])
        if tuning.task.name != task.name:
            raise CommandError(
                f"{tuning.path} is a search of {tuning.task.name}: expected "
                f"'fastlstm tune {tuning.task.name} --resume'"
            )
    else:
        tuning = _new_tuning(task, values)
        tuning.check()
    parts = task.read(tuning.data)
    console.print(describe(parts), **PLAIN)
    console.print("[dim]chosen by the validation part; the test part is not touched[/]\n")
    trials = TRIALS if values["trials"] is None else values["trials"]

    def show(trial: Trial) -> None:
        console.print(_line(trial, trials), **PLAIN)

    try:
        with console.status("training"):
            tuning.search(parts, trials, show)
    except Interrupted as error:
        command = f"fastlstm tune {task.name} --resume {shlex.quote(str(tuning.path))}"
        raise CommandInterruptedError(f"{error}; to go on: {command} --trials {trials}") from error
    best = tuning.path / "best.toml"
    source = shlex.quote(tuning.data.source)
    console.print(f"\nbest settings in {best}; to train with them:", **PLAIN)
    console.print(f"fastlstm train {task.name} {source} --config {shlex.quote(str(best))}", **PLAIN)


def _new_tuning(task: Task, values: Mapping[str, Any]) -> Tuning:
    source = source_of(task, values)
    settings = read_settings(task.settings, values["config"], overrides_from(values))
    searched = values["search"]
    space = dict(map(parse_space, searched)) if searched else task.space
    output = values["output"]
    if output is None:
        output = Path("runs") / f"tune-{Path(source).stem}-{datetime.now():%Y%m%d-%H%M%S}"
    return Tuning(output, task, data_from(task.data, source, values), settings, space)


def _line(trial: Trial, trials: int) -> str:
    if trial.value is None:
        result = trial.state
    else:
        share = trial.metric.endswith(("accuracy", "f1"))
        result = f"{trial.metric} " + (f"{trial.value:.2%}" if share else f"{trial.value:.4g}")
    settings = ", ".join(
        f"{key}={value:.3g}" if isinstance(value, float) else f"{key}={value}"
        for key, value in trial.values.items()
    )
    return f"{trial.number:>3}/{trials:<3} {result}{'  best' if trial.is_best else ''}  {settings}"
