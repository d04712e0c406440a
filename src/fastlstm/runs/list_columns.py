"""Columns of lists: a row for each sequence, of one value or one vector a step."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastlstm.data import DataError, release_memory

if TYPE_CHECKING:
    import pyarrow as pa


def holds_lists(kind: pa.DataType) -> bool:
    """Whether each row of a column of this type is a list."""
    import pyarrow as pa

    return (
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )


def holds_numbers(kind: pa.DataType) -> bool:
    """Whether a column of this type is one of numbers, or of truth values."""
    import pyarrow as pa

    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or kind == pa.bool_()


def list_lengths(column: pa.ChunkedArray, where: str) -> np.ndarray:
    """The length of the list in each row, int64 `(N,)`.

    Args:
        column: of lists.
        where: what errors call it.

    Raises:
        DataError: a row is empty, or its list is.
    """
    from pyarrow import compute

    lengths = compute.call_function("list_value_length", [column]).fill_null(-1).to_numpy()
    if len(lengths) and lengths.min() <= 0:
        row = int(np.argmax(lengths <= 0))
        found = "is empty" if lengths[row] < 0 else "has an empty list"
        raise DataError(f"{where}: row {row + 1} {found}: expected a value or a vector a step")
    return lengths.astype(np.int64)


def list_values(columns: dict[str, pa.ChunkedArray], path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Columns of lists of numbers, or of vectors, side by side.

    Args:
        columns: they are let go piece by piece as they are copied.
        path: what errors call the table.

    Returns:
        float32 `(S, F)`, the steps of one row after those of another, and the number of steps of
        each row, int64 `(N,)`.

    Raises:
        DataError: a list is missing, empty, of another length than that beside it, or holds
            something else than finite numbers or vectors of one width.
    """
    lengths = _common_lengths(columns, path)
    ends = np.cumsum(lengths)
    widths = {
        name: _width(column, ends, f"{path}, column {name!r}") for name, column in columns.items()
    }
    values = np.empty((int(ends[-1]), sum(widths.values())), dtype=np.float32)
    place = 0
    for name, width in widths.items():
        into = values[:, place : place + width]
        _copy(columns.pop(name).chunks, into, ends, f"{path}, column {name!r}")
        place += width
    return values, lengths


def cut_steps(values: np.ndarray, lengths: np.ndarray) -> Any:
    """The steps of all sequences as one array `(N, T, F)`, or as a list of arrays `(T_i, F)`."""
    if (lengths == lengths[0]).all():
        return values.reshape(len(lengths), lengths[0], -1)
    return np.split(values, np.cumsum(lengths)[:-1])


def _common_lengths(columns: Mapping[str, pa.ChunkedArray], path: Path) -> np.ndarray:
    first, common = "", np.empty(0)
    for name, column in columns.items():
        lengths = list_lengths(column, f"{path}, column {name!r}")
        if not first:
            first, common = name, lengths
        if (lengths != common).any():
            row = int(np.argmax(lengths != common))
            raise DataError(
                f"{path}, column {name!r}: row {row + 1} has a list of {lengths[row]}, and column "
                f"{first!r} one of {common[row]}: expected as many"
            )
    return common


def _width(column: pa.ChunkedArray, ends: np.ndarray, where: str) -> int:
    """How many values a step of a column has.

    Raises:
        DataError: its lists hold something else than numbers or lists of numbers, or these are of
            other widths.
    """
    import pyarrow as pa
    from pyarrow import compute

    kind = column.type.value_type
    inner = kind.value_type if holds_lists(kind) else kind
    if not (holds_numbers(inner) or inner == pa.null()):
        raise DataError(f"{where} holds {_example(column, kind)}: expected lists of numbers")
    if not holds_lists(kind):
        return 1
    width, step = 0, 0
    for chunk in column.chunks:
        found = compute.call_function("list_value_length", [chunk.flatten()]).fill_null(0)
        found = found.to_numpy(zero_copy_only=False)
        if step == 0 and len(found):
            width = int(found[0])
        if (wrong := (found != width) | (found <= 0)).any():
            place = int(np.argmax(wrong))
            row, of_row = _row(step + place, ends)
            raise DataError(
                f"{where}: row {row} has {found[place]} values at step {of_row}: expected "
                f"{f'{width}, as at the first step' if width else 'one or more'}"
            )
        step += len(found)
    return width


def _example(column: pa.ChunkedArray, kind: pa.DataType) -> str:
    """What is in lists that hold no numbers: the first text and its row, or the type."""
    import pyarrow as pa

    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        for row, value in enumerate(column, 1):
            for text in value.as_py():
                if text is not None:
                    return f"{text!r} in row {row}"
    return f"lists of {kind}"


def _copy(chunks: list[pa.Array], into: np.ndarray, ends: np.ndarray, where: str) -> None:
    """Copy the numbers of lists into an array `(S, width)`.

    Raises:
        DataError: one is missing or not finite.
    """
    step = 0
    chunks.reverse()
    while chunks:
        flat = chunks.pop().flatten()
        while holds_lists(flat.type):
            flat = flat.flatten()
        count = len(flat) // into.shape[1]
        rows = into[step : step + count]
        if flat.null_count:
            missing = flat.is_null().to_numpy(zero_copy_only=False)
            wrong = missing.reshape(-1, into.shape[1]).any(axis=1)
        else:
            with np.errstate(over="ignore"):  # which is found as infinite
                rows[:] = flat.to_numpy(zero_copy_only=False).reshape(rows.shape)
            wrong = ~np.isfinite(rows).all(axis=1)
        if wrong.any():
            row, of_row = _row(step + int(np.argmax(wrong)), ends)
            raise DataError(f"{where}: row {row} has no finite number at step {of_row}")
        step += count
        del flat
        release_memory()


def _row(step: int, ends: np.ndarray) -> tuple[int, int]:
    """The row of a step, and its place there, both counted from 1."""
    row = int(np.searchsorted(ends, step, side="right"))
    return row + 1, step - (int(ends[row - 1]) if row else 0) + 1
