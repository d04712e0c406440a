"""Tables as sequences: a row for each, of values or lists, or a row for each step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from fastlstm.data import DataError, Labels, check_columns, read_table, release_memory
from fastlstm.runs.labelled import coded, labels_of
from fastlstm.runs.list_columns import cut_steps, holds_lists, holds_numbers, list_values

if TYPE_CHECKING:
    import pyarrow as pa


class SequenceColumns(Protocol):
    """Which columns hold what; see `ClassificationData`."""

    @property
    def label(self) -> tuple[str, ...]:
        """Of the classes."""
        ...

    @property
    def features(self) -> tuple[str, ...] | None:
        """Of the values."""
        ...

    @property
    def ignore(self) -> tuple[str, ...]:
        """Are nothing of these."""
        ...

    @property
    def sequence(self) -> str | None:
        """Says which sequence a row is a step of."""
        ...

    @property
    def time(self) -> str | None:
        """Orders the steps."""
        ...


@dataclass(frozen=True)
class TableSequences:
    """The sequences of a table.

    Attributes:
        X: float32 `(N, T)` or `(N, T, F)`, or a list of arrays `(T_i, F)`.
        labels: of each target; empty where none were asked for.
        features: the columns of the values, in their order.
        table: a row for each sequence: the columns to write predictions beside; lists of values are
            none.
    """

    X: Any
    labels: dict[str, Labels[str]]
    table: pa.Table
    features: tuple[str, ...]


def read_sequences(path: Path, columns: SequenceColumns, labels: bool) -> TableSequences:
    """Read a table whose rows are sequences, or, where `columns.sequence` is given, steps.

    A row that is a sequence has a value a step, in the order of the columns; or its columns are
    lists of one length, which have a value a step, or a vector.

    Args:
        path: as for `fastlstm.data.read_table`.
        columns: which columns hold what.
        labels: whether the label columns must be there; else they are passed over.

    Raises:
        DataError: a column is missing or of another kind, or a sequence has two labels.
    """
    import pyarrow as pa

    if columns.time is not None and columns.sequence is None:
        raise DataError(
            f"time is {columns.time!r}: expected with it the column that says which sequence a "
            f"row belongs to (sequence)"
        )
    texts = [*(columns.label if labels else ()), *filter(None, [columns.sequence])]
    wanted = None
    if columns.features is not None:
        wanted = list(dict.fromkeys([*columns.features, *texts, *filter(None, [columns.time])]))
    if not labels:
        wanted = None  # every column goes into what is written
    table = read_table(path, wanted, texts=texts, single=labels)
    if len(table) == 0:
        raise DataError(f"{path} has no rows")
    if labels:
        check_ignored(table, columns, path)
    names = feature_names(table, columns, path)
    of_values = {name: table.column(name) for name in names}
    lists = holds_lists(table.schema.field(names[0]).type)
    if labels or lists:  # they are not written again: they need not be there twice
        table = table.select(
            [name for name in table.column_names if name not in names or name == columns.time]
        )
    if lists:
        X = cut_steps(*list_values(of_values, path))
        found = labels_of(table, columns.label, str(path)) if labels else {}
        return TableSequences(X, found, table, tuple(names))
    values = feature_values(of_values, len(table), path)
    if columns.sequence is not None:
        ids = coded(table, columns.sequence, str(path))
        targets = columns.label if labels else ()
        found = {target: _one_each(table, target, ids, path) for target in targets}
        times = None if columns.time is None else row_times(table, columns.time, path)
        del table  # nothing of it is needed again, and its texts take more than the values
        release_memory()
        X = split_rows(values, ids.codes, row_order(ids.codes, times))
        return TableSequences(X, found, pa.table({columns.sequence: ids.classes}), tuple(names))
    found = labels_of(table, columns.label, str(path)) if labels else {}
    return TableSequences(values, found, table, tuple(names))


def feature_names(table: pa.Table, columns: SequenceColumns, path: Path) -> list[str]:
    """The columns of values: those that were named, or all that have a name and are nothing else.

    A column without a name is the number of a row, as pandas writes it, or what stands behind a
    last separator.

    Raises:
        DataError: there is none, one is not there, or one holds no numbers; or some hold lists and
            others do not, or lists where rows are steps.
    """
    others = {"", *columns.label, *columns.ignore, columns.sequence, columns.time}
    names = [name for name in table.column_names if name not in others]
    if columns.features is not None:
        names = list(columns.features)
    if both := [name for name in names if name in columns.label]:
        raise DataError(f"features and label are both {both[0]!r}: expected different columns")
    if not names:
        raise DataError(f"{path} has no columns of values beside {', '.join(filter(None, others))}")
    check_columns(path, names, table.column_names)
    lists = [name for name in names if holds_lists(table.schema.field(name).type)]
    if lists and columns.sequence is not None:
        raise DataError(
            f"{path}, column {lists[0]!r} holds a list in row 1: expected a number, as each row is "
            f"a step of a {columns.sequence!r} (sequence)"
        )
    for name in names:
        kind = table.schema.field(name).type
        if name not in lists and (lists or not holds_numbers(kind)):
            beside = f", as column {lists[0]!r} does" if lists else ""
            raise DataError(
                f"{path}, column {name!r} {_found(table.column(name))}: expected "
                f"{'lists of ' if lists else ''}numbers{beside}; say which columns are values "
                f"(features) or which are not (ignore) if this is none"
            )
    return names


def check_ignored(table: pa.Table, columns: SequenceColumns, path: Path) -> None:
    """Raise unless the columns to ignore are there: another would be read in place of one misspelt.

    Not where a file is predicted, which need not have what is not read.

    Raises:
        DataError: one is not there.
    """
    if columns.features is None:
        check_columns(path, columns.ignore, table.column_names)


def _found(column: pa.ChunkedArray) -> str:
    """What a column holds that is no number, in words: the first such value and its row."""
    import pyarrow as pa

    if column.null_count == len(column):
        return "is empty"
    if pa.types.is_string(column.type):
        for row, value in enumerate(column, 1):
            try:
                value.cast(pa.float64())
            except pa.ArrowInvalid:
                return f"holds {value.as_py()!r} in row {row}"
    return f"holds {column.type}"


def feature_values(columns: dict[str, pa.ChunkedArray], rows: int, path: Path) -> np.ndarray:
    """Columns as float32 `(rows, columns)`; they are let go piece by piece as they are copied.

    Raises:
        DataError: a value is missing or infinite.
    """
    names = list(columns)
    values = np.empty((rows, len(names)), dtype=np.float32)
    chunks = [
        (row, place, chunk)
        for place, name in enumerate(names)
        for row, chunk in _with_first_row(columns.pop(name).chunks)
    ]
    # The first rows of all columns first: their memory is then that of the values.
    chunks.sort(key=lambda found: found[:2], reverse=True)
    wrong: dict[int, int] = {}
    while chunks:
        row, place, chunk = chunks.pop()
        found = chunk.to_numpy(zero_copy_only=False)
        values[row : row + len(chunk), place] = found
        finite = np.isfinite(found)
        if not finite.all():
            wrong.setdefault(place, row + int(np.argmin(finite)) + 1)
        del chunk, found
        if place == len(names) - 1:
            release_memory()
    if wrong:
        place = min(wrong)
        raise DataError(f"{path}, column {names[place]!r}: row {wrong[place]} has no finite number")
    return values


def _with_first_row(chunks: list[pa.Array]) -> Iterator[tuple[int, pa.Array]]:
    row = 0
    for chunk in chunks:
        yield row, chunk
        row += len(chunk)


def split_rows(values: np.ndarray, codes: np.ndarray, order: np.ndarray | None) -> list[np.ndarray]:
    """The rows of each sequence.

    Args:
        values: a row for each step.
        codes: the number of the sequence that it belongs to.
        order: what `row_order` gave.
    """
    ordered = values if order is None else values[order]
    return np.split(ordered, np.cumsum(np.bincount(codes))[:-1])


def row_order(codes: np.ndarray, times: np.ndarray | None) -> np.ndarray | None:
    """The order of the rows by sequence, then by time; None where they stand so already."""
    rising = codes[1:] >= codes[:-1]
    if times is not None:
        rising &= (codes[1:] > codes[:-1]) | (times[1:] >= times[:-1])
    if rising.all():
        return None
    return np.argsort(codes, kind="stable") if times is None else np.lexsort((times, codes))


def row_times(table: pa.Table, name: str, path: Path) -> np.ndarray:
    """A column that orders rows.

    Raises:
        DataError: it is not there, or has empty places.
    """
    check_columns(path, [name], table.column_names)
    column = table.column(name)
    if column.null_count:
        raise DataError(f"{path}, column {name!r}: {column.null_count} rows have no time")
    return column.to_numpy()


def _one_each(table: pa.Table, target: str, ids: Labels[str], path: Path) -> Labels[str]:
    """The label that all rows of a sequence have, for each sequence."""
    codes, names = ids.codes, ids.classes
    labels = coded(table, target, str(path))
    of_rows, classes = labels.codes, labels.classes
    first = np.empty(len(names), dtype=np.min_scalar_type(len(codes)))
    # Of the rows of a sequence the last to be written is the first.
    first[codes[::-1]] = np.arange(len(codes) - 1, -1, -1, dtype=first.dtype)
    wrong = np.flatnonzero(of_rows != of_rows[first][codes])
    if len(wrong):
        code = codes[wrong[0]]
        label, other = classes[of_rows[first[code]]], classes[of_rows[wrong[0]]]
        raise DataError(
            f"{path}: sequence {names[code]!r} has the labels {label!r} and {other!r} in column "
            f"{target!r}: expected one"
        )
    return labels.select(first)
