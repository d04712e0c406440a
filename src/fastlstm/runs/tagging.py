"""Name each step of a sequence: `train tag`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from fastlstm.data import DataError, load_gesture_phase, load_ud_ewt, split_share
from fastlstm.runs.parts import fit_on_parts, parts_of, refuse_files
from fastlstm.runs.settings import parameters, settings_of
from fastlstm.runs.space import Choice, Real, Space, Whole
from fastlstm.runs.tagging_files import (
    JSON_LINES,
    StepColumns,
    Tagged,
    of_vectors,
    read_tagged,
    step_table,
)
from fastlstm.runs.tagging_report import measure
from fastlstm.runs.task import DataConfig, Parts, Results
from fastlstm.tasks import SequenceTagger
from fastlstm.training import Event, Metric

if TYPE_CHECKING:
    import pyarrow as pa

UD_EWT, GESTURE_PHASE = "ud-ewt", "gesture-phase"


@dataclass(frozen=True)
class TaggingData(DataConfig):
    """Where sequences with a label a step are, and how they are read.

    Args:
        source: `ud-ewt`, `gesture-phase`, a file of CoNLL-U (`.conllu`), JSON Lines of lists, a
            table (CSV, TSV, Parquet) with a row a step, or, where its columns are lists, a row a
            sequence, or columns of CoNLL (any other ending).
        validation: as for `DataConfig`.
        test: as for `DataConfig`.
        test_share: as for `DataConfig`.
        label: the targets: columns of CoNLL-U (upos, xpos, feats, lemma), keys of JSON Lines,
            columns of a table, or names for the last columns of CoNLL; None: upos of CoNLL-U,
            labels of JSON Lines with words, else label.
        tokens: the column or key of the words; None: tokens in JSON Lines, unless their lists hold
            numbers, and in a table the steps are vectors.
        features: the columns of the values of a table; None: all others that have a name.
        ignore: columns of a table that are neither values nor anything else.
        sequence: the column of a table that says which sequence a row is a step of; None: all rows
            are one sequence.
        time: the column that orders the steps of a sequence; None: as they stand in the file.
        values: which values of `gesture-phase`: velocities and accelerations, or coordinates.
    """

    label: tuple[str, ...] | None = None
    tokens: str | None = None
    features: tuple[str, ...] | None = None
    ignore: tuple[str, ...] = ()
    sequence: str | None = None
    time: str | None = None
    values: Literal["derived", "raw"] = "derived"


class Tagging:
    """Sequences with a label a step; see `fastlstm.runs.Task`."""

    name = "tag"
    sets: Sequence[str] = (UD_EWT, GESTURE_PHASE)
    data = TaggingData
    settings = settings_of(SequenceTagger)
    metrics: Sequence[Metric] = (
        Metric("span_f1", higher_is_better=True),
        Metric("macro_f1", higher_is_better=True),
        Metric("accuracy", higher_is_better=True),
    )
    space: Mapping[str, Space] = {
        "lstm.hidden_size": Whole(32, 256, log=True),
        "training.learning_rate": Real(5e-4, 1e-2, log=True),
        "crf": Choice(("true", "false")),
        "input_dropout": Real(0.0, 0.6),
        "dropout": Real(0.0, 0.7),
    }

    def read(self, data: TaggingData) -> Parts:
        """Read a named set or a file."""
        if data.source == UD_EWT:
            return _read_ud_ewt(data)
        examples = self._source(data)
        if examples.features is not None:  # another file may have its columns in another order
            data = replace(data, features=examples.features)
        read = partial(self.read_part, data)
        return parts_of(examples, examples.noun, data, read, _hold_out)

    def _source(self, data: TaggingData) -> Tagged:
        if data.source != GESTURE_PHASE:
            return self.read_part(data, Path(data.source))
        found = load_gesture_phase(data.values)
        return Tagged(found.frames, {_columns(data).label[0]: found.labels}, found.names)

    def read_part(self, data: TaggingData, path: Path) -> Tagged:
        """Read a file with labels."""
        return read_tagged(path, _columns(data, path), labels=True)

    def fit(
        self,
        settings: Any,
        parts: Parts,
        output: Path | None = None,
        resume: bool = False,
        on_event: Callable[[Event], None] | None = None,
    ) -> SequenceTagger:
        """Fit a `SequenceTagger`."""
        estimator = SequenceTagger(**parameters(settings))
        return fit_on_parts(estimator, parts, output, resume, on_event)

    def load(self, path: Path) -> SequenceTagger:
        """Read a `SequenceTagger`."""
        return SequenceTagger.load(path)

    def measure(self, estimator: SequenceTagger, part: Tagged) -> Results:
        """Accuracy and the like, beside the most frequent tag of each word, or of all frames."""
        return measure(estimator, part)

    def predict(self, estimator: SequenceTagger, data: TaggingData, path: Path) -> pa.Table:
        """Name the steps of a file; a row for each, in the order of the file."""
        columns = _columns(data, path)
        part = read_tagged(path, columns, labels=False)
        table = step_table(part) if part.table is None else part.table
        return _with_predictions(table, estimator, part, str(path))


def _columns(data: TaggingData, path: Path | None = None) -> StepColumns:
    """Which columns of a file hold what; the targets are those of its kind where none are named."""
    label = data.label
    if label is None:
        of_conllu = data.source == UD_EWT or data.source.lower().endswith(".conllu")
        lines = (
            path is not None
            and path.suffix.lower() in JSON_LINES
            and data.sequence is None
            and not of_vectors(path, data)
        )
        label = ("upos",) if of_conllu else ("labels",) if lines else ("label",)
    return StepColumns(label, data.tokens, data.features, data.ignore, data.sequence, data.time)


def _read_ud_ewt(data: TaggingData) -> Parts:
    refuse_files(data)
    bank = load_ud_ewt(_columns(data).label)
    train, validation, test = (
        Tagged(part.tokens, part.labels, [f"sentence {n}" for n in range(1, len(part) + 1)])
        for part in bank
    )
    return Parts(UD_EWT, train.noun, train, validation, test)


def _hold_out(examples: Tagged, share: float) -> tuple[Tagged, Tagged, str]:
    """Split a test part off: what is left, the test part, and how it came to be, in words."""
    if len(examples) == 1:
        raise DataError(
            f"{examples.names[0]} is one sequence: expected a file for the test, or, of a table, "
            f"the column that says which sequence a row belongs to (sequence)"
        )
    kept, held_out = split_share(len(examples), share)
    train, test = examples.select(kept.tolist()), examples.select(held_out.tolist())
    note = f"{len(test):,} of {len(examples):,} {test.noun}, drawn at random, held out for the test"
    if len(test) <= 3:
        note = f"{', '.join(test.names)} of {len(examples)} {test.noun} held out for the test"
    return train, test, note


def _with_predictions(
    table: pa.Table,
    estimator: SequenceTagger,
    part: Tagged,
    shown: str,
) -> pa.Table:
    """The columns of the input, and behind them the label of each step, and how sure it is.

    Raises:
        DataError: the input has such a column already.
    """
    import pyarrow as pa

    labels, chances = estimator.predict(part.X), estimator.predict_proba(part.X)
    several = isinstance(labels, Mapping)
    for target in labels if several else [""]:
        of_target = (labels[target], chances[target]) if several else (labels, chances)
        classes = estimator.classes_[target] if several else estimator.classes_
        places = {str(one): place for place, one in enumerate(classes)}
        said = np.array([str(one) for row in of_target[0] for one in row], object)
        of_steps = np.concatenate(of_target[1])
        sure = of_steps[np.arange(len(said)), [places[one] for one in said]]
        if part.order is not None:
            back = np.argsort(part.order)
            said, sure = said[back], sure[back]
        ending = f"_{target}" if several else ""
        for name, values in ((f"prediction{ending}", said), (f"probability{ending}", sure)):
            if name in table.column_names:
                raise DataError(f"{shown} has a column {name!r} already: rename it")
            table = table.append_column(name, pa.array(values))
    return table
