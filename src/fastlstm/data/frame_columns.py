"""Columns of any data frame (pandas, Polars, Arrow) as numpy arrays, checked."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from fastlstm.data.column_names import check_columns
from fastlstm.data.errors import DataError
from fastlstm.data.series import FrameStyle, TimeKind

_STRETCH = 2**14
"""So many rows at a time: a long column is not there again in each form that it goes through."""


def open_frame(frame: Any, needed: Sequence[str]) -> Any:
    """Look at a data frame through narwhals.

    Raises:
        DataError: it is no data frame, has no rows or lacks one of the needed columns.
    """
    import narwhals.stable.v2 as nw

    try:
        opened = nw.from_native(frame, eager_only=True)
    except TypeError as error:
        raise DataError(
            f"a {type(frame).__name__}: expected a data frame of pandas, Polars or pyarrow"
        ) from error
    check_columns("the frame", needed, [str(name) for name in opened.columns])
    if len(opened) == 0:
        raise DataError("the frame has no rows")
    return opened


def codes_of(opened: Any, name: str) -> tuple[np.ndarray, list[Any]]:
    """A column of names as numbers.

    Returns:
        int32 `(S,)`, and the names in the order in which they appear.

    Raises:
        DataError: a name is missing.
    """
    import pyarrow as pa

    array = opened[name].to_arrow()
    if pa.types.is_dictionary(array.type):
        array = array.cast(array.type.value_type)
    if array.null_count:
        row = np.flatnonzero(array.is_null().to_numpy(zero_copy_only=False))[0]
        raise DataError(f"column {name!r} is missing in row {row}")
    codes = np.empty(len(array), dtype=np.int32)
    numbers: dict[Any, int] = {}
    for start in range(0, len(codes), _STRETCH):
        part = array.slice(start, _STRETCH)
        if isinstance(part, pa.ChunkedArray):
            part = pa.concat_arrays(part.chunks)
        encoded = part.dictionary_encode()
        names = encoded.dictionary.to_pylist()
        of_part = np.array([numbers.setdefault(name, len(numbers)) for name in names])
        codes[start : start + len(part)] = of_part[encoded.indices.to_numpy()]
    return codes, list(numbers)


def numbers_of(opened: Any, name: str) -> np.ndarray:
    """A column of numbers or booleans as float32; missing ones are NaN.

    Raises:
        DataError: it holds something else.
    """
    import narwhals.stable.v2 as nw

    column = opened[name]
    if not (column.dtype.is_numeric() or column.dtype == nw.Boolean):
        raise DataError(f"column {name!r} holds {column.dtype}: expected numbers")
    numbers = np.empty(len(column), dtype=np.float32)
    for start in range(0, len(numbers), _STRETCH):
        part = column[slice(start, start + _STRETCH)].cast(nw.Float32)
        if part.null_count():
            part = part.fill_null(float("nan"))
        numbers[start : start + _STRETCH] = part.to_numpy()
    return numbers


def stamps_of(opened: Any, name: str) -> tuple[np.ndarray, FrameStyle]:
    """A column of time stamps.

    Returns:
        `datetime64[us]` or int64, `(S,)`; and how the frame looks. Times with a zone are in UTC, or
        on the wall's clock where that always shows the same time of day.

    Raises:
        DataError: a time stamp is missing or cannot be read, or the column holds something else.
    """
    column = opened[name]
    kind, zone = _time_kind(column, name)
    if column.null_count():
        row = np.flatnonzero(np.asarray(column.is_null().to_numpy()))[0]
        raise DataError(f"column {name!r} is missing in row {row}")
    style = FrameStyle(opened.implementation, kind, zone)
    if kind == "integer":
        return np.asarray(column.to_numpy()).astype(np.int64), style
    if kind == "text":
        return _parsed(np.asarray(column.to_numpy()), name), style
    if zone is None:
        return _datetimes(column), style
    wall = _datetimes(column.dt.replace_time_zone(None))
    if len(np.unique(wall - wall.astype("datetime64[D]"))) == 1:
        return wall, replace(style, wall_time=True)
    return _datetimes(column.dt.convert_time_zone("UTC").dt.replace_time_zone(None)), style


def shown(stamp: Any) -> str:
    """A time stamp as errors write it: no more digits than it has."""
    text = str(stamp).replace("T", " ")
    return text.removesuffix(".000000").removesuffix(" 00:00:00")


def _datetimes(column: Any) -> np.ndarray:
    import narwhals.stable.v2 as nw

    found = np.empty(len(column), dtype="datetime64[us]")
    for start in range(0, len(found), _STRETCH):
        part = slice(start, start + _STRETCH)
        found[part] = column[part].cast(nw.Datetime("us")).to_numpy()
    return found


def _time_kind(column: Any, name: str) -> tuple[TimeKind, str | None]:
    import narwhals.stable.v2 as nw

    if isinstance(column.dtype, nw.Datetime):
        return "datetime", column.dtype.time_zone
    if column.dtype == nw.Date:
        return "date", None
    if column.dtype.is_integer():
        return "integer", None
    if column.dtype == nw.String:
        return "text", None
    raise DataError(
        f"column {name!r} holds {column.dtype}: expected dates, times, text or integers"
    )


def _parsed(texts: np.ndarray, name: str) -> np.ndarray:
    try:
        return texts.astype("U").astype("datetime64[us]")
    except ValueError as error:
        for row, text in enumerate(texts):
            try:
                np.datetime64(text, "us")
            except ValueError:
                raise DataError(
                    f"column {name!r}, row {row}: cannot read {text!r} as a time: expected ISO "
                    f"8601 such as 2024-01-31 or 2024-01-31 13:45"
                ) from error
        raise
