"""Many series on a regular grid of time steps: one array a column, one series behind the other."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from fastlstm.data.calendar import calendar_features
from fastlstm.data.errors import DataError
from fastlstm.data.filling import Fill, check_fill, fill_missing
from fastlstm.data.frequency import Frequency

TimeKind = Literal["datetime", "date", "integer", "text"]


@dataclass(frozen=True)
class SeriesColumns:
    """Which column of a long frame (a row for each series and time step) is what.

    Args:
        identifier: whose row it is; None where there is only one series.
        time: when: dates, date-times, ISO 8601 text, or integers that count steps.
        targets: what is to be forecast.
        past: covariates that are known up to now.
        future: covariates that are known ahead, over the horizon too.
        static: properties of the series that never change: numbers, or text as categories.
    """

    identifier: str | None = "unique_id"
    time: str = "ds"
    targets: tuple[str, ...] = ("y",)
    past: tuple[str, ...] = ()
    future: tuple[str, ...] = ()
    static: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.targets:
            raise DataError("no target column: expected at least one")
        names = [*filter(None, [self.identifier]), self.time, *self.values, *self.static]
        for name in names:
            if names.count(name) > 1:
                raise DataError(f"column {name!r} is given two roles")

    @property
    def values(self) -> tuple[str, ...]:
        """The columns with a number for each step."""
        return (*self.targets, *self.past, *self.future)


@dataclass(frozen=True)
class FrameStyle:
    """How the user's frame looks, so that forecasts can look the same.

    Args:
        backend: the data frame library, as narwhals names it.
        time: the kind of the time column.
        time_zone: that of the time column; None where it has none.
        wall_time: with a time zone: whether inside time is that of the clock on the wall, as for
            days, which are not all of 24 hours; else UTC.
    """

    backend: Any = "pyarrow"
    time: TimeKind = "integer"
    time_zone: str | None = None
    wall_time: bool = False


@dataclass(frozen=True)
class StaticCovariates:
    """What never changes about each of N series.

    Args:
        numbers: float32 `(N, S)`.
        categories: int64 `(N, K)`, from 1; 0 is a category that was not known.
        number_names: the names of the S columns.
        known: for each of the K columns its categories, in the order of their numbers.
    """

    numbers: np.ndarray
    categories: np.ndarray
    number_names: tuple[str, ...] = ()
    known: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def none(cls, count: int) -> "StaticCovariates":
        """No covariates, of `count` series."""
        empty = np.zeros((count, 0))
        return cls(empty.astype(np.float32), empty.astype(np.int64))


@dataclass(frozen=True)
class SeriesSet:
    """N series without gaps.

    Row `offsets[i] + t` is step t of series i, and its time stamp is t steps after `first[i]`.

    Args:
        names: the identifier of each series, `(N,)`.
        offsets: int64 `(N + 1,)`.
        first: the first time stamp of each, `datetime64[us]` or int64 `(N,)`.
        frequency: the distance of two steps, the same in all series.
        values: float32 `(offsets[-1],)` for each column, without missing values.
        columns: the roles of the columns.
        static: what never changes.
        calendar: the names of calendar features that are known ahead. They are calculated where
            they are read: kept for every row, they would take more than the values.
        style: how the user's frame looked.
    """

    names: list[Any]
    offsets: np.ndarray
    first: np.ndarray
    frequency: Frequency
    values: dict[str, np.ndarray]
    columns: SeriesColumns
    static: StaticCovariates
    calendar: tuple[str, ...] = ()
    style: FrameStyle = FrameStyle()

    def __len__(self) -> int:
        return len(self.names)

    @property
    def lengths(self) -> np.ndarray:
        """The number of steps of each series, int64 `(N,)`."""
        return np.diff(self.offsets)

    @property
    def future_names(self) -> tuple[str, ...]:
        """The columns that are known ahead: the user's, then sine and cosine of the calendar."""
        own = self.columns.future
        return (*own, *(f"{name}_{part}" for name in self.calendar for part in ("sin", "cos")))

    def stamps(self, index: int) -> np.ndarray:
        """The time stamps of one series, `(T_i,)`."""
        return self.frequency.stamps(self.first[index], np.arange(self.lengths[index]))

    def known_ahead(self, numbers: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """What is known ahead at some steps: the values of `future_names`.

        Args:
            numbers: which series each row is one of, int64, of a shape that broadcasts to `rows`.
            rows: as in `offsets`; they may lie behind the end of a series where it has calendar
                features only.

        Returns:
            float32, of the shape of `rows` and an axis of F.
        """
        found = np.empty((*rows.shape, len(self.future_names)), dtype=np.float32)
        for position, name in enumerate(self.columns.future):
            found[..., position] = self.values[name][rows]
        if self.calendar:
            stamps = self.frequency.stamps(self.first[numbers], rows - self.offsets[numbers])
            features = calendar_features(stamps, self.calendar)
            for position, values in enumerate(features.values(), len(self.columns.future)):
                found[..., position] = values
        return found

    def future_stamps(self, horizon: int) -> np.ndarray:
        """The time stamps that follow each series, `(N, horizon)`."""
        positions = self.lengths[:, None] + np.arange(horizon)
        first = np.repeat(self.first, horizon)
        return self.frequency.stamps(first, positions.ravel()).reshape(len(self), horizon)

    def select(self, indices: np.ndarray) -> "SeriesSet":
        """Some of the series, in that order."""
        chosen = replace(
            self,
            names=[self.names[index] for index in indices.tolist()],
            first=self.first[indices],
            static=replace(
                self.static,
                numbers=self.static.numbers[indices],
                categories=self.static.categories[indices],
            ),
        )
        return chosen._cut(self.offsets[:-1][indices], self.offsets[1:][indices])

    def last(self, steps: int) -> "SeriesSet":
        """The last steps of each series; of a shorter one, all.

        A few more where months are counted from a day that not every month has: so the first stamp
        still says which day it is.
        """
        start, stop = self.offsets[:-1], self.offsets[1:]
        first = np.maximum(start, stop - steps)
        if self.frequency.unit == "months" and not self.frequency.month_end:
            for index in np.flatnonzero(first > start).tolist():
                days = _days(self.stamps(index)[: first[index] - start[index] + 1])
                first[index] = start[index] + np.flatnonzero(days == days[0])[-1]
        moved = replace(self, first=self.frequency.stamps(self.first, first - start))
        return moved._cut(first, stop)

    def without_last(self, steps: int) -> "SeriesSet":
        """All but the last steps of each series.

        Raises:
            DataError: a series has no more than so many.
        """
        if (self.lengths <= steps).any():
            index = int((self.lengths <= steps).argmax())
            raise DataError(
                f"series {self.names[index]!r} has {self.lengths[index]} steps: expected more than "
                f"the {steps} that are cut off"
            )
        return self._cut(self.offsets[:-1], self.offsets[1:] - steps)

    def _cut(self, first: np.ndarray, stop: np.ndarray) -> "SeriesSet":
        """The rows of each series from `first` to before `stop`, with the stamps as they are."""
        # Slices, as the numbers of all rows would take more than their values.
        parts = [slice(*part) for part in zip(first.tolist(), stop.tolist(), strict=True)]
        return replace(
            self,
            offsets=np.concatenate([[0], np.cumsum(stop - first)]),
            values={
                name: np.concatenate([values[part] for part in parts])
                for name, values in self.values.items()
            },
        )

    def with_calendar(self, names: Sequence[str]) -> "SeriesSet":
        """Add calendar features, which are known ahead.

        Args:
            names: as for `calendar_features`.

        Raises:
            DataError: as for `calendar_features`, or a column has the name of a feature.
        """
        for name in calendar_features(self.first, names):
            if name in self.values:
                raise DataError(f"column {name!r} has the name of a calendar feature: rename it")
        return replace(self, calendar=(*self.calendar, *names))


def series_from_array(
    values: Any, names: Sequence[str] = ("y",), fill: Fill = "error"
) -> SeriesSet:
    """Take series from an array: steps are counted from 0.

    Args:
        values: `(T,)` for one series, `(N, T)` for N, `(N, T, C)` for N series of C targets.
        names: the names of the C targets.
        fill: what becomes of NaN: `error`, or one of those of `fill_missing`.

    Raises:
        DataError: the array has another shape or type, is empty, or holds infinity, or NaN that is
            not to be filled.
    """
    check_fill(fill)
    array = np.asarray(values)
    if array.dtype.kind not in "fiub":
        raise DataError(f"an array of {array.dtype}: expected numbers")
    if array.ndim not in (1, 2, 3) or array.size == 0:
        raise DataError(f"an array of shape {array.shape}: expected (T,), (N, T) or (N, T, C)")
    if array.ndim < 3:
        array = array.reshape(-1, array.shape[-1], 1)
    count, steps, channels = array.shape
    if channels != len(names):
        raise DataError(f"{channels} targets in an array of shape {array.shape}: got names {names}")
    flat = array.reshape(-1, channels).astype(np.float32)
    offsets = np.arange(count + 1, dtype=np.int64) * steps
    columns = {name: np.ascontiguousarray(flat[:, index]) for index, name in enumerate(names)}
    for name, column in columns.items():
        fill_missing(column, offsets, fill)
        wrong = np.flatnonzero(~np.isfinite(column))
        if len(wrong):
            series, step = divmod(int(wrong[0]), steps)
            ways = "" if np.isinf(column[wrong[0]]) else ", or fill='forward', 'linear' or 'zero'"
            raise DataError(
                f"{name!r} is {column[wrong[0]]} at step {step} of series {series}: "
                f"expected numbers only{ways}"
            )
    return SeriesSet(
        names=list(range(count)),
        offsets=offsets,
        first=np.zeros(count, dtype=np.int64),
        frequency=Frequency("integers", 1),
        values=columns,
        columns=SeriesColumns(targets=tuple(names)),
        static=StaticCovariates.none(count),
    )


def _days(stamps: np.ndarray) -> np.ndarray:
    """The day of the month of each stamp, from 0."""
    return (stamps.astype("datetime64[D]") - stamps.astype("datetime64[M]")).astype(np.int64)
