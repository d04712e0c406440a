"""What never changes about a series: numbers, and categories that are text."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from fastlstm.data.errors import DataError
from fastlstm.data.frame_columns import codes_of, numbers_of, open_frame
from fastlstm.data.series import SeriesColumns, StaticCovariates


def read_static(
    frame: Any,
    columns: SeriesColumns,
    names: list[Any],
    codes: np.ndarray,
    known_categories: Mapping[str, list[str]] | None,
    own_frame: bool,
) -> StaticCovariates:
    """Read the static columns.

    Args:
        frame: the long frame, opened; or the user's frame of static columns.
        columns: the roles.
        names: the series.
        codes: the series of each row of the long frame.
        known_categories: of the training; None to take those that appear, sorted.
        own_frame: whether `frame` has a row for each series instead of one for each step.

    Raises:
        DataError: a column is missing, changes within a series, has a missing value or another type
            than in training; or the frame lacks a series or has it twice.
    """
    if not columns.static:
        return StaticCovariates.none(len(names))
    if own_frame:
        if columns.identifier is None:
            raise DataError("a frame of static covariates needs a column that names the series")
        frame = open_frame(frame, [columns.identifier, *columns.static])
        codes = _rows_of_series(frame, columns.identifier, names)
    keep = codes >= 0
    first = np.full(len(names), -1, dtype=np.int64)
    rows = np.flatnonzero(keep)
    first[codes[rows][::-1]] = rows[::-1]
    numbers, number_names, categories = [], [], []
    known: dict[str, list[str]] = {}
    for name in columns.static:
        is_number = frame[name].dtype.is_numeric()
        if known_categories is not None and (name in known_categories) == is_number:
            now, before = ("numbers", "text") if is_number else ("text", "numbers")
            raise DataError(f"static column {name!r} holds {now}: in training it held {before}")
        if is_number:
            values = numbers_of(frame, name)
            _check(name, values, first, codes, keep, names)
            if not np.isfinite(values[first]).all():
                index = int((~np.isfinite(values[first])).argmax())
                raise DataError(f"static column {name!r} is missing in series {names[index]!r}")
            numbers.append(values[first])
            number_names.append(name)
        else:
            values, texts = codes_of(frame, name)
            _check(name, values, first, codes, keep, names)
            texts = [str(text) for text in texts]
            known[name] = (
                sorted(texts) if known_categories is None else list(known_categories[name])
            )
            number_of = {text: number for number, text in enumerate(known[name], 1)}
            translated = np.array([number_of.get(text, 0) for text in texts], dtype=np.int64)
            categories.append(translated[values[first]])
    empty = StaticCovariates.none(len(names))
    return StaticCovariates(
        np.stack(numbers, axis=1) if numbers else empty.numbers,
        np.stack(categories, axis=1) if categories else empty.categories,
        tuple(number_names),
        known,
    )


def _rows_of_series(frame: Any, identifier: str, names: list[Any]) -> np.ndarray:
    """The number of the series of each row, −1 for a series that is not asked for."""
    codes, found = codes_of(frame, identifier)
    for name in names:
        if name not in found:
            raise DataError(f"the frame of static covariates has no row for series {name!r}")
    twice = np.flatnonzero(np.bincount(codes) > 1)
    if len(twice):
        raise DataError(f"the frame of static covariates has two rows for {found[twice[0]]!r}")
    number_of = {name: number for number, name in enumerate(names)}
    return np.array([number_of.get(name, -1) for name in found], dtype=np.int64)[codes]


def _check(
    name: str,
    values: np.ndarray,
    first: np.ndarray,
    codes: np.ndarray,
    keep: np.ndarray,
    names: list[Any],
) -> None:
    """Refuse a column that is not the same in all rows of a series."""
    rows = np.flatnonzero(keep)
    expected, found = values[first[codes[rows]]], values[rows]
    changed = (expected != found) & ~(np.isnan(expected) & np.isnan(found))
    if changed.any():
        series = names[codes[rows[int(changed.argmax())]]]
        raise DataError(
            f"static column {name!r} changes within series {series!r}: expected one value"
        )
