"""What a forecaster is given, as series; and what is measured on their training part."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from fastlstm.data import (
    DataError,
    Fill,
    SeriesColumns,
    SeriesSet,
    TimeRange,
    series_from_array,
)
from fastlstm.tasks.errors import TaskError

_STRETCH = 2**14  # rows


def is_array(X: Any) -> bool:
    """Whether series come as an array, and not as a data frame."""
    return isinstance(X, (np.ndarray, list, tuple, torch.Tensor))


def read_array(X: Any, columns: SeriesColumns | None, fill: Fill) -> tuple[SeriesSet, int]:
    """Series from an array: `(T,)`, `(T, C)` or `(N, T, C)`; and how many axes it has.

    Raises:
        DataError: it has another shape, or `columns` asks for what only a frame can have.
    """
    if columns is not None and (columns.past or columns.future or columns.static):
        raise DataError("columns names covariates: expected a data frame, got an array")
    array = np.asarray(X.detach().cpu() if isinstance(X, torch.Tensor) else X)
    if array.ndim not in (1, 2, 3) or array.size == 0:
        raise DataError(
            f"an array of shape {array.shape}: expected (T,), (T, C) or (N, T, C), time before "
            "targets"
        )
    axes = array.ndim
    count = 1 if axes == 1 else int(array.shape[axes - 1])
    steps = int(array.shape[0 if axes < 3 else 1])
    array = array.reshape(-1, steps, count)
    names = ("y",) if count == 1 else tuple(f"y{number}" for number in range(count))
    return series_from_array(array, names if columns is None else columns.targets, fill), axes


def is_whole(value: Any) -> bool:
    """Whether it is a whole number, and no truth value."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def check_steps(name: str, value: Any) -> None:
    """Raise a ``TaskError`` unless it is a whole number of at least 1."""
    if not is_whole(value) or value < 1:
        raise TaskError(f"{name} is {value!r}: expected a whole number of at least 1")


def check_counts(series: SeriesSet) -> None:
    """Raise a ``TaskError`` where a target is negative: no count is.

    Here, as what is wrong on a GPU can only be seen there, and ends the process.
    """
    for name in series.columns.targets:
        values = series.values[name]
        negative = values < 0  # NaN is not
        if negative.any():
            raise TaskError(
                f"counts must not be negative, got {values[negative][0]:g} in {name}: use another "
                "output for this data"
            )


def training_part(
    series: SeriesSet, validation: float | int, horizon: int
) -> tuple[TimeRange, TimeRange | None]:
    """What is trained on, and the end of each series to choose the best epoch by.

    Args:
        series: all steps.
        validation: a share of each series, or a number of steps; 0: nothing.
        horizon: the end has as many steps at least.

    Raises:
        TaskError: neither a share nor a number of steps.
    """
    whole = TimeRange.whole(series)
    is_share = isinstance(validation, float) and 0 < validation < 1
    is_count = is_whole(validation) and validation >= 0
    if not (is_share or is_count):
        raise TaskError(
            f"validation is {validation!r}: expected a share below 1 or a number of steps"
        )
    if not validation:
        return whole, None
    steps = np.rint(whole.lengths * validation) if is_share else np.full(len(series), validation)
    border = whole.stop - np.maximum(steps.astype(np.int64), horizon)
    border = np.maximum(whole.start, border)
    return TimeRange(whole.start, border), TimeRange(border, whole.stop)


def spread_of_series(series: SeriesSet, within: TimeRange) -> np.ndarray:
    """The standard deviation of each target of each series: float32 `(N, C)`, above zero.

    A series that is constant is measured in the mean spread of the others, or else by 1.
    """
    spread = np.zeros((len(series), len(series.columns.targets)))
    for index, (start, stop) in enumerate(zip(within.start, within.stop, strict=True)):
        for channel, name in enumerate(series.columns.targets):
            if stop > start:
                spread[index, channel] = _spread(series.values[name][start:stop])
    for column in spread.T:
        moving = column > 0
        column[~moving] = column[moving].mean() if moving.any() else 1.0
    return spread.astype(np.float32)


def _spread(values: np.ndarray) -> float:
    """The standard deviation, a stretch at a time."""
    mean = values.mean(dtype=np.float64)
    parts = np.split(values, range(_STRETCH, len(values), _STRETCH))
    return math.sqrt(sum(float(((part - mean) ** 2).sum()) for part in parts) / len(values))


def statistics(
    series: SeriesSet, within: TimeRange, names: Sequence[str]
) -> tuple[torch.Tensor, torch.Tensor]:
    """The mean and the standard deviation of some columns over all series: `(F)` each."""

    def read(rows: np.ndarray) -> np.ndarray:
        return np.stack([series.values[name][rows] for name in names], axis=1)

    return _moments(series, within, read if names else None)


def statistics_ahead(series: SeriesSet, within: TimeRange) -> tuple[torch.Tensor, torch.Tensor]:
    """The same of what is known ahead: the columns of `SeriesSet.known_ahead`."""

    def read(rows: np.ndarray) -> np.ndarray:
        return series.known_ahead(np.searchsorted(series.offsets, rows, side="right") - 1, rows)

    return _moments(series, within, read if series.future_names else None)


def _moments(
    series: SeriesSet, within: TimeRange, read: Callable[[np.ndarray], np.ndarray] | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """The mean and the standard deviation of what is read of rows; None: of no columns."""
    if read is None:
        return torch.zeros(0), torch.zeros(0)
    inside = np.zeros(int(series.offsets[-1]), dtype=bool)
    for start, stop in zip(within.start, within.stop, strict=True):
        inside[start:stop] = True

    # A stretch at a time: no column is there twice, and no feature of the calendar whole.
    def stretches() -> Iterator[np.ndarray]:
        for start in range(0, len(inside), _STRETCH):
            yield read(start + np.flatnonzero(inside[start : start + _STRETCH])).astype(np.float64)

    count = int(inside.sum())
    mean = np.sum([part.sum(axis=0) for part in stretches()], axis=0) / count
    squares = np.sum([((part - mean) ** 2).sum(axis=0) for part in stretches()], axis=0)
    spread = np.sqrt(squares / count)
    return torch.from_numpy(mean).float(), torch.from_numpy(spread).float()
