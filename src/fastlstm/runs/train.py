"""A run from data to report in one call."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastlstm.runs.outcome import Outcome, finish
from fastlstm.runs.run import Run, check_new
from fastlstm.runs.task import DataConfig, Task
from fastlstm.runs.tasks import find_task
from fastlstm.training import Event, check_hardware


def train(
    task: str | Task,
    data: DataConfig,
    output: str | Path,
    settings: Any = None,
    on_event: Callable[[Event], None] | None = None,
) -> Outcome:
    """Read, train, measure, report.

    Args:
        task: its name, or the task.
        data: where the data are: of the task's type `data`.
        output: a new or empty folder.
        settings: of the task's type `settings`; None: the defaults.
        on_event: called with what happens in the training, such as a `TrainingDisplay`.

    Raises:
        RunFolderError: there is something in the folder, or the disk refuses.
        DataError, RunError: the data cannot be read.
        ConfigError, TaskError, ModelError, TrainingError, Interrupted: as `Run.fit`.
    """
    found = find_task(task) if isinstance(task, str) else task
    run = Run(Path(output), found, data, found.settings() if settings is None else settings)
    check_new(run.path)
    check_hardware(run.settings.training)
    parts = run.read()
    return finish(run, run.fit(parts, on_event), parts)


def resume(path: str | Path, on_event: Callable[[Event], None] | None = None) -> Outcome:
    """Go on with an interrupted run, to the same weights, and end it as `train` would have."""
    run = Run.open(path)
    check_hardware(run.settings.training)
    parts = run.read()
    return finish(run, run.fit(parts, on_event), parts)
