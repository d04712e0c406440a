"""Tables as sequences: a row for each, or a row for each step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from fastlstm.data import DataError, read_table
from fastlstm.runs.labelled import labels_of

if TYPE_CHECKING:
    import pyarrow as pa


class SequenceColumns(Protocol):
    """Which columns hold what; see `ClassificationData`."""

    @property
    def label(self) -> tuple[str, ...]: ...
    @property
    def features(self) -> tuple[str, ...] | None: ...
    @property
    def sequence(self) -> str | None: ...
    @property
    def time(self) -> str | None: ...


@dataclass(frozen=True)
class TableSequences:
    """The sequences of a table.

    Attributes:
        X: float32 `(N, T)`, or a list of arrays `(T_i, F)`.
        labels: of each target; empty where none were asked for.
        table: a row for each sequence: the columns to write predictions beside.
    """

    X: Any
    labels: dict[str, list[str]]
    table: pa.Table


def read_sequences(path: Path, columns: SequenceColumns, labels: bool) -> TableSequences:
    """Read a table whose rows are sequences, or, where `columns.sequence` is given, steps.

    Args:
        path: as for `fastlstm.data.read_table`.
        columns: which columns hold what.
        labels: whether the label columns must be there; else they are passed over.

    Raises:
        DataError: a column is missing or of another kind, or a sequence has two labels.
    """
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
    table = read_table(path, wanted, texts=texts)
    names = _features(table, columns, path)
    values = _values(table, names, path)
    found = labels_of(table, columns.label, str(path)) if labels else {}
    if columns.sequence is None:
        return TableSequences(values, found, table)
    return _grouped(table, columns, values, found, path)


def _features(table: pa.Table, columns: SequenceColumns, path: Path) -> list[str]:
    import pyarrow as pa

    others = {*columns.label, columns.sequence, columns.time}
    names = [name for name in table.column_names if name not in others]
    if columns.features is not None:
        names = list(columns.features)
    if not names:
        raise DataError(f"{path} has no columns of values beside {', '.join(filter(None, others))}")
    for name in names:
        if name not in table.column_names:
            raise DataError(
                f"{path} has no column {name!r}: it has {', '.join(table.column_names)}"
            )
        kind = table.schema.field(name).type
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or kind == pa.bool_()):
            raise DataError(
                f"{path}, column {name!r} holds {kind}: expected numbers; name the columns of "
                f"values (features) if this is none of them"
            )
    return names


def _values(table: pa.Table, names: Sequence[str], path: Path) -> np.ndarray:
    """The columns as float32 `(rows, columns)`, block by block: none is there twice as a whole."""
    if len(table) == 0:
        raise DataError(f"{path} has no rows")
    values = np.empty((len(table), len(names)), dtype=np.float32)
    for place, name in enumerate(names):
        row = 0
        for chunk in table.column(name).chunks:
            values[row : row + len(chunk), place] = chunk.to_numpy(zero_copy_only=False)
            row += len(chunk)
    wrong = ~np.isfinite(values).all(axis=1)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        name = names[int(np.flatnonzero(~np.isfinite(values[row]))[0])]
        raise DataError(f"{path}, column {name!r}: row {row + 1} has no finite number")
    return values


def _grouped(
    table: pa.Table,
    columns: SequenceColumns,
    values: np.ndarray,
    labels: dict[str, list[str]],
    path: Path,
) -> TableSequences:
    """Rows gathered into sequences, in the order in which these first appear."""
    import pyarrow as pa

    assert columns.sequence is not None
    names = labels_of(table, [columns.sequence], str(path))[columns.sequence]
    numbers: dict[str, int] = {}
    codes = np.fromiter((numbers.setdefault(n, len(numbers)) for n in names), np.int64, len(names))
    times = np.arange(len(codes))
    if columns.time is not None:
        times = _times(table, columns.time, path)
    order = np.lexsort((times, codes))
    if not np.array_equal(order, np.arange(len(order))):
        values = values[order]
    starts = np.searchsorted(codes[order], np.arange(len(numbers)))
    ends = np.append(starts[1:], len(codes))
    X = [values[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]
    of_sequences = {}
    for target, of_rows in labels.items():
        of_sequences[target] = _one_label_each(of_rows, codes, list(numbers), target, path)
    return TableSequences(X, of_sequences, pa.table({columns.sequence: list(numbers)}))


def _times(table: pa.Table, name: str, path: Path) -> np.ndarray:
    if name not in table.column_names:
        raise DataError(f"{path} has no column {name!r}: it has {', '.join(table.column_names)}")
    column = table.column(name)
    if column.null_count:
        raise DataError(f"{path}, column {name!r}: {column.null_count} rows have no time")
    return column.to_numpy()


def _one_label_each(
    of_rows: Sequence[str], codes: np.ndarray, names: list[str], target: str, path: Path
) -> list[str]:
    found: list[str | None] = [None] * len(names)
    for label, code in zip(of_rows, codes.tolist(), strict=True):
        if found[code] is None:
            found[code] = label
        elif found[code] != label:
            raise DataError(
                f"{path}: sequence {names[code]!r} has the labels {found[code]!r} and {label!r} in "
                f"column {target!r}: expected one"
            )
    return [label for label in found if label is not None]
