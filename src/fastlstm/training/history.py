"""What a training did, from itself or from its folder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastlstm.config import from_mapping
from fastlstm.training.checkpoint import Course
from fastlstm.training.errors import RunFolderError
from fastlstm.training.folder import CHECKPOINT, RunFolder


@dataclass(frozen=True)
class History:
    """What a training did.

    Attributes:
        records: a dict for each epoch: `epoch`, `updates`, `train_…`, `validation_…`,
            `learning_rate`, `seconds`.
        best_epoch: whose weights the network has, from 1.
        best_value: its metric; None where it is not finite, or nothing was validated.
        stopped_early: the metric stood still for `patience` epochs.
    """

    records: list[dict[str, Any]]
    best_epoch: int
    best_value: float | None
    stopped_early: bool


def read_history(folder: RunFolder) -> History:
    """What the training in a folder did until its last checkpoint.

    Raises:
        RunFolderError: no epoch has ended, or the checkpoint is missing or damaged.
    """
    where = folder.path / CHECKPOINT
    found = folder.read_checkpoint()
    if found is None:
        raise RunFolderError(f"{where} does not exist: expected the checkpoint of a training")
    _, state = found
    try:
        course = from_mapping(Course, state["course"], str(where))
        epochs = int(state["config"]["epochs"])
    except (KeyError, TypeError, ValueError) as error:
        raise RunFolderError(f"{where} is damaged: it holds no valid state") from error
    if course.best_epoch is None:
        raise RunFolderError(
            f"{folder.path} has no model: expected the folder of a run that completed an epoch"
        )
    stopped_early = course.finished and len(course.lines) < epochs
    return History(course.lines, course.best_epoch, course.best_value, stopped_early)
