"""Files of sequences with a label for each step: CoNLL-U, CoNLL, JSON Lines, tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from fastlstm.data import (
    DataError,
    Labels,
    TaggedSentences,
    read_conll,
    read_conllu,
    read_table,
    read_tagged_json_lines,
    read_text,
)
from fastlstm.runs.labelled import coded, labels_of
from fastlstm.runs.list_columns import holds_lists
from fastlstm.runs.sequence_tables import (
    check_ignored,
    feature_names,
    feature_values,
    row_order,
    row_times,
    split_rows,
)
from fastlstm.runs.tagging_lists import first_row_is_of_numbers, list_labels, list_steps

if TYPE_CHECKING:
    import pyarrow as pa

JSON_LINES = (".jsonl", ".ndjson")
_TABLES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet")


LABELS = ("label", "labels")
"""What labels are called where nobody names them: a column, and a list beside tokens."""


class TableColumns(Protocol):
    """Which columns hold what; see `TaggingData`."""

    @property
    def label(self) -> tuple[str, ...] | None:
        """Of the classes."""
        ...

    @property
    def tokens(self) -> str | None:
        """Of the words."""
        ...

    @property
    def features(self) -> tuple[str, ...] | None:
        """Of the values."""
        ...

    @property
    def sequence(self) -> str | None:
        """Says which sequence a row is a step of."""
        ...


@dataclass(frozen=True)
class StepColumns:
    """Which columns hold what; see `TaggingData`."""

    label: tuple[str, ...]
    tokens: str | None = None
    features: tuple[str, ...] | None = None
    ignore: tuple[str, ...] = ()
    sequence: str | None = None
    time: str | None = None


@dataclass(frozen=True)
class Tagged:
    """Sequences and the label of each step.

    Attributes:
        X: N lists of tokens, or N arrays `(T_i, F)`.
        y: N lists of labels for each target; empty where none were asked for.
        names: what each sequence is called.
        table: a row for each step, one sequence after another: what predictions are written beside.
        order: which row of `table` each step is, where these are not in the order of the steps.
        features: the columns of the values, in their order; None where they were no columns.
    """

    X: Sequence[Any]
    y: Mapping[str, Sequence[Sequence[str]]]
    names: Sequence[str]
    table: pa.Table | None = None
    order: np.ndarray | None = None
    features: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.X)

    @property
    def of_words(self) -> bool:
        """Whether the steps are words."""
        return isinstance(self.X[0], list)

    @property
    def noun(self) -> str:
        """What the sequences are called."""
        return "sentences" if self.of_words else "recordings"

    def labels(self) -> Any:
        """The labels as an estimator takes them: of a single target without its name."""
        return dict(self.y) if len(self.y) > 1 else next(iter(self.y.values()))

    def select(self, indices: Sequence[int]) -> Tagged:
        """Some of the sequences."""
        return Tagged(
            [self.X[index] for index in indices],
            {name: [rows[index] for index in indices] for name, rows in self.y.items()},
            [self.names[index] for index in indices],
        )


def read_tagged(path: Path, columns: StepColumns, labels: bool) -> Tagged:
    """Read a file; its ending says how.

    Args:
        path: `.conllu`; `.jsonl` and `.ndjson`, an object a sentence or a sequence of vectors,
            where no column of sequences is named; `.csv`, `.tsv`, `.parquet`, and JSON Lines with
            such a column, a row a step, or, where the columns are lists, a row a sequence; any
            other is columns of CoNLL, or, without labels and in `.txt`, a sentence a line.
        columns: which columns hold what.
        labels: whether the labels must be there; else they are passed over.

    Raises:
        DataError: the file is missing, or not as `columns` says.
    """
    targets = columns.label if labels else ()
    name = path.name.lower()
    if name.endswith(_TABLES) or columns.sequence is not None or of_vectors(path, columns):
        return _read_table(path, columns, targets)
    if name.endswith(".conllu"):
        return _of_sentences(read_conllu(path, targets))
    if name.endswith(JSON_LINES):
        return _of_sentences(read_tagged_json_lines(path, columns.tokens or "tokens", targets))
    if name.endswith(".txt") and not labels:
        return _of_sentences(_read_lines(path))
    return _of_sentences(read_conll(path, targets))


def of_vectors(path: Path, columns: TableColumns) -> bool:
    """Whether a file is JSON Lines with an object for each sequence of vectors, and not of words.

    It is where the columns of the values are named, or the lists of its first object hold numbers.
    """
    if not path.name.lower().endswith(JSON_LINES) or columns.sequence or columns.tokens:
        return False
    if columns.features is not None:
        return True
    return first_row_is_of_numbers(path, (*LABELS, *(columns.label or ())))


def step_table(part: Tagged) -> pa.Table:
    """A row for each step: the number of its sentence, and its token."""
    import pyarrow as pa

    numbers = [number for number, tokens in enumerate(part.X, 1) for _ in tokens]
    tokens = [token for sentence in part.X for token in sentence]
    return pa.table({"sentence": numbers, "token": pa.array(tokens, pa.string())})


def _of_sentences(found: TaggedSentences) -> Tagged:
    names = [f"sentence {number}" for number in range(1, len(found) + 1)]
    return Tagged(found.tokens, found.labels, names)


def _read_lines(path: Path) -> TaggedSentences:
    tokens = [line.split() for line in read_text(path).split("\n") if line.strip()]
    if not tokens:
        raise DataError(f"{path} is empty: expected a sentence a line, spaces between its words")
    return TaggedSentences(tokens, {})


def _read_table(path: Path, columns: StepColumns, targets: Sequence[str]) -> Tagged:
    texts = [*targets, *filter(None, [columns.sequence, columns.tokens])]
    whole = columns.sequence is None and columns.tokens is None
    table = read_table(path, texts=texts, lists=whole)
    if len(table) == 0:
        raise DataError(f"{path} has no rows")
    if targets:
        check_ignored(table, columns, path)
    names = [] if columns.tokens is not None else feature_names(table, columns, path)
    if whole:
        if holds_lists(table.schema.field(names[0]).type):
            X, steps = list_steps(table, names, path)
            lengths = [len(values) for values in X]
            y = {name: list_labels(table, name, lengths, path) for name in targets}
            called = [f"row {row}" for row in range(1, len(X) + 1)]
            return Tagged(X, y, called, steps, features=tuple(names))
        for name in targets:
            if holds_lists(table.schema.field(name).type):
                raise DataError(
                    f"{path}, column {name!r} holds lists, and column {names[0]!r} none: expected "
                    f"a label in each row, or lists in both"
                )
    ids = Labels(np.zeros(len(table), dtype=np.uint8), [path.stem])
    if columns.sequence is not None:
        ids = coded(table, columns.sequence, str(path))
    times = None if columns.time is None else row_times(table, columns.time, path)
    order = row_order(ids.codes, times)
    y = {
        name: [
            rows.tolist()
            for rows in split_rows(np.array(found.classes, object)[found.codes], ids.codes, order)
        ]
        for name, found in labels_of(table, targets, str(path)).items()
    }
    X = [
        rows.tolist() if columns.tokens is not None else rows
        for rows in split_rows(_steps(table, columns, names, path), ids.codes, order)
    ]
    return Tagged(X, y, ids.classes, table, order, tuple(names) or None)


def _steps(table: pa.Table, columns: StepColumns, names: Sequence[str], path: Path) -> np.ndarray:
    """The words (N) or the vectors (N, F) of all steps, as they stand in the file."""
    if columns.tokens is not None:
        words = table.column(columns.tokens).to_pylist()
        missing = next((row for row, word in enumerate(words, 1) if not word), None)
        if missing is not None:
            raise DataError(f"{path}, column {columns.tokens!r}: row {missing} has no word")
        return np.array(words, object)
    return feature_values({name: table.column(name) for name in names}, len(table), path)
