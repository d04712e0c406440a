"""What the loop tells of its course."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastlstm.training.objective import Metric


@dataclass(frozen=True)
class Started:
    """The training begins, or goes on.

    Attributes:
        epochs: how many there will be at most.
        examples: in an epoch.
        metric: the figure that decides.
        epoch: the one that it begins with, or goes on in, from 1.
        done: the examples of it that a resumed training has behind it.
        device: what computes it: "CPU", or the name of the GPU.
    """

    epochs: int
    examples: int
    metric: Metric
    epoch: int
    done: int
    device: str = "CPU"


@dataclass(frozen=True)
class BatchesDone:
    """An update, or several from one long batch.

    Attributes:
        epoch: the running one, from 1.
        examples: those of it that are done.
        averages: the loss and the objective's further sums, over the epoch so far.
        learning_rate: at this place.
    """

    epoch: int
    examples: int
    averages: Mapping[str, float]
    learning_rate: float


@dataclass(frozen=True)
class EpochDone:
    """An epoch has ended, with its validation.

    Attributes:
        epoch: from 1.
        record: the line of `metrics.jsonl`.
        is_best: no epoch before was better.
    """

    epoch: int
    record: Mapping[str, Any]
    is_best: bool


Event = Started | BatchesDone | EpochDone
