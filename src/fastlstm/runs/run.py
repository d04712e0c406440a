"""One run from data to report, in a folder of its own.

run.json       the task, where the data are, every setting: written first, read to go on
model/         the estimator as its `fit` keeps it; its `load` needs nothing else
scores.json    the figures of the test part, beside their baseline
report.html    the page to look at
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from fastlstm.runs.description import Description, read_description, write_description
from fastlstm.runs.errors import RunError
from fastlstm.runs.task import DataConfig, Parts, Results, Task
from fastlstm.training import Event, RunFolderError, check_output
from fastlstm.training.folder import CHECKPOINT, CONFIG, WEIGHTS, is_first_process

RUN = "run.json"
MODEL = "model"


class Run:
    """A run on the disk; `create` begins one and `open` comes back to it.

    Attributes:
        path: its folder.
        task: what it is about.
        data: where the data are and how they are read.
        settings: the parameters of the estimator.
    """

    def __init__(self, path: Path, task: Task, data: DataConfig, settings: Any) -> None:
        self.path = path
        self.task = task
        self.data = data
        self.settings = settings

    @property
    def model(self) -> Path:
        """The folder of the estimator."""
        return self.path / MODEL

    @property
    def is_trained(self) -> bool:
        """Whether there is anything that was learnt: a checkpoint or weights."""
        return any((self.model / name).exists() for name in (CHECKPOINT, WEIGHTS))

    def read(self) -> Parts:
        """Read the data; `data` then says how these were read.

        Raises:
            DataError: they cannot be read.
            RunError: there is no such data set or file.
        """
        check_source(self.task, self.data)
        parts = self.task.read(self.data)
        if parts.data is not None:
            self.data = parts.data
        return parts

    @classmethod
    def open(cls, path: str | Path) -> Run:
        """Come back to a run.

        Raises:
            RunFolderError: the folder or its `run.json` is missing or damaged.
        """
        path = Path(path)
        if not path.is_dir():
            raise RunFolderError(f"{path} is not a folder: expected the folder of a run")
        found = read_description(path / RUN)
        return cls(path, found.task, found.data, found.settings)

    def save(self) -> None:
        """Begin the folder with `run.json`.

        Raises:
            RunFolderError: the folder is not empty, or the disk refuses.
        """
        if not is_first_process():
            return
        check_output(self.path)
        write_description(self.path / RUN, Description(self.task, self.data, self.settings))

    def fit(self, parts: Parts, on_event: Callable[[Event], None] | None = None) -> Any:
        """Train, or go on where the run stands; a new run that fails leaves nothing behind.

        Args:
            parts: what `read` gave.
            on_event: called with what happens.

        Returns:
            The fitted estimator.

        Raises:
            DataError, ConfigError, TaskError, ModelError: what was asked for cannot be.
            TrainingError, RunFolderError, Interrupted: as `fastlstm.training.fit`.
        """
        new = not (self.path / RUN).exists()
        if new:
            self.save()
        # Killed before its first checkpoint, a run has nothing that a new one lacks.
        resume = (self.model / CHECKPOINT).exists()
        if not resume and is_first_process():
            shutil.rmtree(self.model, ignore_errors=True)
        try:
            estimator = self.task.fit(self.settings, parts, self.model, resume, on_event)
            return self._placed(estimator)
        except BaseException:
            if new and not self.is_trained and is_first_process():
                self._discard()
            raise

    def load(self) -> Any:
        """The estimator as the best epoch left it.

        Raises:
            RunFolderError: no epoch has ended, or the folder is damaged.
        """
        if not (self.model / CONFIG).exists():
            raise RunFolderError(
                f"{self.path} has no model: expected the folder of a run that completed an epoch"
            )
        return self._placed(self.task.load(self.model))

    def _placed(self, estimator: Any) -> Any:
        """The estimator where it was trained; where there is no such device, what is there."""
        on_cpu = self.settings.training.device == "cpu"
        return estimator.to("cpu" if on_cpu else "auto")

    def measure(self, file: Path) -> Results:
        """Measure the estimator on another file with labels; nothing is written."""
        estimator = self.load()
        return self.task.measure(estimator, self.task.read_part(self.data, file))

    def _discard(self) -> None:
        # What ended the run is the error to report, not what this clean-up meets on top of it.
        with suppress(OSError):
            shutil.rmtree(self.model, ignore_errors=True)
            (self.path / RUN).unlink(missing_ok=True)
            self.path.rmdir()


def check_new(path: Path) -> None:
    """Raise, before anything slow is done, unless a run can be made in a folder.

    Raises:
        RunFolderError: as `fastlstm.training.check_output`.
    """
    if is_first_process():
        check_output(path)


def check_source(task: Task, data: DataConfig) -> None:
    """Raise unless the source is a named set of the task, or is there.

    Raises:
        RunError: it is neither.
    """
    if data.source not in task.sets and not Path(data.source).exists():
        raise RunError(
            f"{data.source} is no data set for {task.name} and no file: expected "
            f"{', '.join(task.sets)}, or a path"
        )
