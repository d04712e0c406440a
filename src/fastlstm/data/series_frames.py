"""Long data frames as series on a regular grid, and forecasts as such frames again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastlstm.data.calendar import calendar_features
from fastlstm.data.errors import DataError
from fastlstm.data.filling import Fill, check_fill, fill_missing
from fastlstm.data.frame_columns import codes_of, numbers_of, open_frame, shown, stamps_of
from fastlstm.data.frequency import Frequency, infer_frequency
from fastlstm.data.series import FrameStyle, SeriesColumns, SeriesSet, StaticCovariates
from fastlstm.data.static import read_static
from fastlstm.data.tables import release_memory

_STRETCH = 2**16  # rows


def read_series(
    frame: Any,
    columns: SeriesColumns | None = None,
    frequency: str | Frequency | None = None,
    fill: Fill = "error",
    static_frame: Any = None,
    known_categories: Mapping[str, list[str]] | None = None,
) -> SeriesSet:
    """Read a long data frame: a row for each series and time step.

    Rows may come in any order. Series are numbered as they appear, and each runs from its own first
    to its own last time stamp.

    Args:
        frame: of pandas, Polars or pyarrow.
        columns: which column is what, None for `unique_id`, `ds`, `y`; others are passed over.
        frequency: the distance of two steps, as `Frequency.parse` reads it; None to find it out.
        fill: what becomes of steps without a row and of missing values. `error` names the first;
            `forward` and `linear` are those of `fill_missing`; `zero` is for targets, covariates
            are then filled forward.
        static_frame: a row for each series with the static columns; None where `frame` has them.
        known_categories: those of `StaticCovariates.known` of the series that a model was trained
            on; None to take those that appear.

    Raises:
        DataError: a column is missing or of a wrong type; a row appears twice; a time stamp is not
            on the grid; a value is infinite, or missing and not to be filled. The message names the
            column, the series and the time stamp.
    """
    check_fill(fill)
    rows = read_rows(frame, columns, static_frame, known_categories)
    return series_of_rows(rows, frequency, fill)


@dataclass
class SeriesRows:
    """The rows of a long frame: all that is needed of it, as arrays of their own.

    Args:
        names: the identifiers, in the order in which they appear.
        codes: the number of the series of each row, `(S,)`.
        stamps: `datetime64[us]` or int64, `(S,)`.
        values: float32 `(S,)` for each column; missing ones are NaN.
        columns: the roles of the columns.
        static: what never changes.
        style: how the frame looks.
    """

    names: list[Any]
    codes: np.ndarray
    stamps: np.ndarray
    values: dict[str, np.ndarray]
    columns: SeriesColumns
    static: StaticCovariates
    style: FrameStyle

    def sort(self) -> None:
        """Order the rows by series and time, one array after the other."""
        codes, stamps = self.codes, self.stamps
        same = codes[1:] == codes[:-1]
        if ((codes[1:] > codes[:-1]) | (same & (stamps[1:] >= stamps[:-1]))).all():
            return
        order = np.lexsort((stamps, codes))
        del codes, stamps, same
        self.codes = self.codes[order]
        self.stamps = self.stamps[order]
        for name in self.values:
            self.values[name] = self.values[name][order]


def read_rows(
    frame: Any,
    columns: SeriesColumns | None = None,
    static_frame: Any = None,
    known_categories: Mapping[str, list[str]] | None = None,
) -> SeriesRows:
    """The first half of `read_series`: the frame is not needed after it.

    Of an Arrow table that nobody else holds, each column goes as soon as it is read. Arguments and
    errors are those of `read_series`; `series_of_rows` is the second half.
    """
    columns = columns or SeriesColumns()
    identifier = [columns.identifier] if columns.identifier is not None else []
    static_columns = () if static_frame is not None else columns.static
    opened = open_frame(frame, [*identifier, columns.time, *columns.values, *static_columns])
    del frame
    count = len(opened)
    if columns.identifier is None:
        codes, names = np.zeros(count, dtype=np.int32), [0]
    else:
        codes, names = codes_of(opened, columns.identifier)
    static = read_static(
        opened if static_frame is None else static_frame,
        columns,
        names,
        codes,
        known_categories,
        own_frame=static_frame is not None,
    )
    # What has been read is let go, so that nothing is there in both forms for long.
    opened = _without(opened, [*identifier, *static_columns])
    stamps, style = stamps_of(opened, columns.time)
    opened = _without(opened, [columns.time])
    values = {name: numbers_of(opened, name) for name in columns.values}
    return SeriesRows(names, codes, stamps, values, columns, static, style)


def series_of_rows(
    rows: SeriesRows, frequency: str | Frequency | None = None, fill: Fill = "error"
) -> SeriesSet:
    """The second half of `read_series`, with its arguments and errors; it sorts the rows."""
    check_fill(fill)
    rows.sort()
    names, codes, stamps, columns = rows.names, rows.codes, rows.stamps, rows.columns
    offsets = np.searchsorted(codes, np.arange(len(names) + 1, dtype=codes.dtype))
    _check_twice(codes, stamps, names)
    if isinstance(frequency, str):
        frequency = Frequency.parse(frequency)
    frequency = frequency or infer_frequency(stamps, offsets)
    grid = _Grid.of(codes, stamps, offsets, frequency, names)
    if grid.rows is not None and fill == "error":
        raise DataError(grid.missing_message(names))
    values = {}
    for name, array in rows.values.items():
        array = grid.place(array)
        how = "forward" if fill == "zero" and name not in columns.targets else fill
        row = fill_missing(array, grid.offsets, how)
        if row is None and not np.isfinite(array).all():
            row = int((~np.isfinite(array)).argmax())
        if row is not None:
            raise DataError(_value_message(name, array[row], grid.where(row, names), fill))
        values[name] = array
    return SeriesSet(
        names=names,
        offsets=grid.offsets,
        first=grid.first,
        frequency=frequency,
        values=values,
        columns=columns,
        static=rows.static,
        style=rows.style,
    )


@dataclass(frozen=True)
class _Grid:
    """Where each row of the frame stands among the steps of all series."""

    offsets: np.ndarray
    first: np.ndarray
    rows: np.ndarray | None  # None where there is a row for each step
    frequency: Frequency

    @classmethod
    def of(
        cls,
        codes: np.ndarray,
        stamps: np.ndarray,
        offsets: np.ndarray,
        frequency: Frequency,
        names: list[Any],
    ) -> "_Grid":
        if (frequency.unit == "integers") != (stamps.dtype.kind == "i"):
            kind = "integers" if stamps.dtype.kind == "i" else "dates"
            raise DataError(f"a frequency of {frequency} does not fit time stamps that are {kind}")
        first = stamps[offsets[:-1]]
        # A stretch at a time: the arrays between are as long as what is calculated at once.
        parts = [slice(start, start + _STRETCH) for start in range(0, len(stamps), _STRETCH)]
        for part in parts:
            _, exact = frequency.positions(stamps[part], first[codes[part]])
            if not exact.all():
                row = part.start + int((~exact).argmax())
                raise DataError(
                    f"series {names[codes[row]]!r}: {shown(stamps[row])} is not a whole number of "
                    f"steps ({frequency}) after {shown(first[codes[row]])}: give `frequency`, or "
                    f"resample the data"
                )
        last, _ = frequency.positions(stamps[offsets[1:] - 1], first)
        grid = np.concatenate([[0], np.cumsum(last + 1)])
        if grid[-1] == len(stamps):  # no step is there twice, and so none is missing
            return cls(grid, first, None, frequency)
        rows = np.empty(len(stamps), dtype=np.int64)
        for part in parts:
            found, _ = frequency.positions(stamps[part], first[codes[part]])
            rows[part] = found + grid[codes[part]]
        return cls(grid, first, rows, frequency)

    def place(self, values: np.ndarray) -> np.ndarray:
        """Values of the rows at their steps, NaN at the steps between."""
        if self.rows is None:
            return values
        placed = np.full(self.offsets[-1], np.nan, dtype=np.float32)
        placed[self.rows] = values
        return placed

    def where(self, row: int, names: list[Any]) -> str:
        series = int(np.searchsorted(self.offsets, row, side="right")) - 1
        stamp = self.frequency.stamps(self.first[series], np.array(row - self.offsets[series]))
        return f"series {names[series]!r} at {shown(stamp)}"

    def missing_message(self, names: list[Any]) -> str:
        assert self.rows is not None
        there = np.zeros(self.offsets[-1], dtype=bool)
        there[self.rows] = True
        where = self.where(int(there.argmin()), names)
        count = int(self.offsets[-1]) - len(self.rows)
        return (
            f"no row for {where}, and {count} missing in all ({self.frequency} between steps): "
            f"complete the data, or choose fill='forward', 'linear' or 'zero'"
        )


def read_future(frame: Any, series: SeriesSet, horizon: int) -> dict[str, np.ndarray]:
    """Read what is known ahead: the future covariates of the steps that follow each series.

    Args:
        frame: the columns of identifier, time and future covariates; further rows are passed over.
            None where only calendar features are needed.
        series: those to be forecast.
        horizon: how many steps.

    Returns:
        float32 `(N, horizon)` for each of `series.future_names`.

    Raises:
        DataError: a column is missing, or a series lacks a step; the message names it.
    """
    names = series.columns.future
    stamps = series.future_stamps(horizon)
    known = {name: np.full((len(series), horizon), np.nan, dtype=np.float32) for name in names}
    if names and frame is None:
        raise DataError(f"forecasts need the future of {', '.join(names)}: expected a frame of it")
    if names:
        _place_future(frame, series, known)
    for name, array in known.items():
        if not np.isfinite(array).all():
            index, step = np.argwhere(~np.isfinite(array))[0]
            raise DataError(
                f"future covariate {name!r} is missing for series {series.names[index]!r} at "
                f"{shown(stamps[index, step])}: expected a number for each of the {horizon} steps "
                f"from {shown(stamps[index, 0])}"
            )
    calendar = calendar_features(stamps.ravel(), series.calendar)
    return known | {name: array.reshape(stamps.shape) for name, array in calendar.items()}


def forecast_frame(
    series: SeriesSet, values: Mapping[str, np.ndarray], horizon: int, like: Any = None
) -> Any:
    """Forecasts as a long frame, in the library of the user's own frame.

    Args:
        series: those that were forecast.
        values: an array `(N, horizon)` for each column.
        horizon: how many steps.
        like: a frame of another library to use; None for that of `series`.

    Returns:
        A frame of identifier (where the user's had one), time and the columns of `values`.
    """
    return stamped_frame(series, {series.columns.time: series.future_stamps(horizon)}, values, like)


def stamped_frame(
    series: SeriesSet,
    stamps: Mapping[str, np.ndarray],
    values: Mapping[str, np.ndarray],
    like: Any = None,
) -> Any:
    """Values of each series at some time stamps as a long frame, in the library of the user's own.

    Args:
        series: whose they are.
        stamps: an array `(N, K)` for each column of time stamps.
        values: an array `(N, K)` for each column of numbers.
        like: a frame of another library to use; None for that of `series`.

    Returns:
        A frame of identifier (where the user's had one), the columns of `stamps` and of `values`.
    """
    import narwhals.stable.v2 as nw

    style = series.style
    backend = style.backend if like is None else nw.from_native(like).implementation
    data: dict[str, Any] = {}
    if series.columns.identifier is not None:
        count = next(iter(stamps.values())).shape[1]
        data[series.columns.identifier] = [name for name in series.names for _ in range(count)]
    data |= {name: np.asarray(array).ravel() for name, array in ({**stamps, **values}).items()}
    frame = nw.from_dict(data, backend=backend)
    if style.time_zone is not None or style.time == "date":
        frame = frame.with_columns(*(_as_users(nw.col(name), style) for name in stamps))
    return frame.to_native()


def _as_users(time: Any, style: FrameStyle) -> Any:
    """A column of time stamps with the user's zone, or as dates."""
    import narwhals.stable.v2 as nw

    if style.time_zone is not None:
        time = time.dt.replace_time_zone(style.time_zone if style.wall_time else "UTC")
        return time.dt.convert_time_zone(style.time_zone)
    return time.cast(nw.Date)


def _place_future(frame: Any, series: SeriesSet, known: dict[str, np.ndarray]) -> None:
    columns = series.columns
    identifier = [columns.identifier] if columns.identifier is not None else []
    opened = open_frame(frame, [*identifier, columns.time, *columns.future])
    stamps, _ = stamps_of(opened, columns.time)
    if columns.identifier is None:
        index = np.zeros(len(stamps), dtype=np.int64)
    else:
        codes, names = codes_of(opened, columns.identifier)
        numbers = {name: number for number, name in enumerate(series.names)}
        index = np.array([numbers.get(name, -1) for name in names], dtype=np.int64)[codes]
    rows = np.flatnonzero(index >= 0)
    index = index[rows]
    positions, exact = series.frequency.positions(stamps[rows], series.first[index])
    steps = positions - series.lengths[index]
    horizon = next(iter(known.values())).shape[1]
    inside = exact & (steps >= 0) & (steps < horizon)
    for name, array in known.items():
        array[index[inside], steps[inside]] = numbers_of(opened, name)[rows[inside]]


def _without(opened: Any, names: Sequence[str]) -> Any:
    """A table without columns, and memory without them where nobody else holds it.

    Frames of other libraries stay as they are: to leave columns out may copy the others.
    """
    if not opened.implementation.is_pyarrow():
        return opened
    left = opened.drop(names)
    del opened
    release_memory()
    return left


def _check_twice(codes: np.ndarray, stamps: np.ndarray, names: list[Any]) -> None:
    twice = (codes[1:] == codes[:-1]) & (stamps[1:] == stamps[:-1])
    if twice.any():
        row = int(twice.argmax())
        raise DataError(
            f"series {names[codes[row]]!r} has two rows for {shown(stamps[row])}, and "
            f"{int(twice.sum())} such in all"
        )


def _value_message(name: str, value: np.floating, where: str, fill: str) -> str:
    if np.isinf(value):
        return f"column {name!r} is {value} in {where}: expected finite numbers"
    if fill == "error":
        return (
            f"column {name!r} is missing in {where}: complete the data, or choose fill='forward', "
            f"'linear' or 'zero'"
        )
    return f"column {name!r} has no value in all of the series: nothing to fill {where} with"
