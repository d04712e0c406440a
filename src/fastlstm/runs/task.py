"""What a task must know so that a run can go from data to report: one small protocol.

A module for each task implements it (`classification`, `text`, …); `tasks` finds them by name, and
`run` does all that they have in common: settings, the run folder, training, `scores.json`,
`report.html`, predictions, tuning.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from fastlstm.report import Scores, Section
from fastlstm.runs.space import Space
from fastlstm.training import Event, Metric

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class DataConfig:
    """Where the data are; each task adds how they are read.

    Args:
        source: a data set's name, or the path of a file or folder of the user's own.
        validation: the file to choose the best epoch by; None: a share of the training part.
        test: the file to measure on; None: a share of `source`, drawn with a seed of its own, or
            the official part of a named set.
        test_share: the share of the source that is held out for the test where nothing else is
            given for it.
    """

    source: str
    validation: Path | None = None
    test: Path | None = None
    test_share: float = 0.2


@dataclass(frozen=True)
class Parts:
    """What a source holds, read.

    Attributes:
        name: what the data are called: the name of the set, or of the file.
        noun: what the examples are called, in the plural: "images".
        train: the training part, in whatever form the task likes; it has a length.
        validation: what the best epoch is chosen by; None: the estimator holds a share out.
        test: what the run is measured on; no setting may be chosen by it.
        data: where they are and how they are read, with what was found filled in, so that other
            files are read as these were; None: as the run has it.
        note: how the parts came to be, where that is not the source's own doing: "a fifth of the
            rows held out for the test".
    """

    name: str
    noun: str
    train: Sized
    validation: Sized | None
    test: Sized
    note: str = ""
    data: DataConfig | None = None


@dataclass(frozen=True)
class Results:
    """What came out on a part that was not trained on.

    Attributes:
        description: a sentence for the head of the report: what was trained, on what.
        scores: the figures beside their baseline, the deciding one first.
        sections: what people look at for the task; the run puts learning curves and the metric
            table before them, and the configuration behind.
    """

    description: str
    scores: Scores
    sections: Sequence[Section]


class Task(Protocol):
    """One way of using an LSTM, from data to report.

    Attributes:
        name: as on the command line: "classify".
        sets: the named data sets for it.
        data: the dataclass of `DataConfig` that says where the data are and how they are read.
        settings: the dataclass of the estimator's parameters (see `settings_of`).
        metrics: by which the best epoch is chosen: the first one that the training measured.
        space: what `tune` searches where its user says nothing else.
    """

    name: str
    sets: Sequence[str]
    data: type[Any]
    settings: type[Any]
    metrics: Sequence[Metric]
    space: Mapping[str, Space]

    def read(self, data: Any) -> Parts:
        """Read the data in their parts.

        Raises:
            DataError: they cannot be read as `data` says.
        """
        ...

    def read_part(self, data: Any, path: Path) -> Sized:
        """Read another file, with what is to be predicted, as `data` says."""
        ...

    def fit(
        self,
        settings: Any,
        parts: Parts,
        output: Path | None = None,
        resume: bool = False,
        on_event: Callable[[Event], None] | None = None,
    ) -> Any:
        """Make the estimator of the settings and fit it on the parts for training.

        Args:
            settings: of the type `self.settings`.
            parts: what `read` gave; `parts.test` must not be touched.
            output: where the estimator keeps its run; None: nowhere.
            resume: go on with what is in `output`.
            on_event: called with what happens.

        Returns:
            The fitted estimator; its `network_` is the network, its `history_` what training did.
        """
        ...

    def load(self, path: Path) -> Any:
        """Read back the estimator that `fit` kept in `path`."""
        ...

    def measure(self, estimator: Any, part: Any) -> Results:
        """Measure the estimator on a part: the test, or what `read_part` gave."""
        ...

    def predict(self, estimator: Any, data: Any, path: Path) -> pa.Table:
        """Read a file as `data` says, without what is to be predicted, and predict.

        Returns:
            What is written: the file's own columns and the predictions, or a forecast.
        """
        ...
