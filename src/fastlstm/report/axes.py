"""Where values fall on an axis, and which of them get a label: plain, logarithmic or in time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastlstm.report import formats
from fastlstm.report.errors import ReportError

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MINUTE, _HOUR, _DAY = 60, 3600, 86400
# What Python's dates can hold, in seconds since 1970.
_FIRST, _LAST = (
    (datetime(year, month, day, tzinfo=timezone.utc) - _EPOCH).total_seconds()
    for year, month, day in ((1, 1, 1), (9999, 12, 31))
)


@dataclass(frozen=True)
class Tick:
    """A labelled place on an axis; `context` is a second line, such as the year of a month."""

    value: float
    label: str
    context: str = ""


@dataclass(frozen=True)
class Axis:
    """The values from `low` to `high`, with ticks among them."""

    low: float
    high: float
    ticks: Sequence[Tick]
    logarithmic: bool = False

    def place(self, values: ArrayLike) -> NDArray[np.float64]:
        """Where values are between `low` (0) and `high` (1)."""
        low, high, given = self.low, self.high, np.asarray(values, dtype=np.float64)
        if self.logarithmic:
            low, high, given = math.log(low), math.log(high), np.log(given)
        return (given - low) / (high - low)


def linear_axis(
    values: ArrayLike, count: int, *, percent: bool = False, loose: bool = True
) -> Axis:
    """An axis over `values` with about `count` round ticks.

    Args:
        values: any shape; NaN and infinities are passed over.
        count: about how many ticks there is room for.
        percent: label shares as percentages.
        loose: end the axis on ticks beyond the values, rather than on the values.
    """
    low, high = _range(values)
    step = _round_step((high - low) / max(count, 1))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    if loose:
        low, high = first * step, last * step
    places = [number * step for number in range(first, last + 1)]
    places = [place for place in places if low - step / 1e6 <= place <= high + step / 1e6]
    return Axis(low, high, _numbered(places, percent=percent))


def whole_axis(values: ArrayLike, count: int) -> Axis:
    """An axis over whole numbers, such as epochs: ticks at whole numbers only, no slack."""
    low, high = _range(values)
    step = max(1.0, _round_step((high - low) / max(count, 1)))
    step = float(round(step))
    places = np.arange(math.ceil(low / step) * step, high + step / 1e6, step).tolist()
    return Axis(low, high, _numbered(places))


def value_axis(values: ArrayLike, count: int, *, percent: bool = False) -> Axis:
    """A linear axis, or a logarithmic one for positive values that differ more than 30 times."""
    low, high = _range(values)
    if percent or low <= 0 or high / low < 30:
        return linear_axis(values, count, percent=percent)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    # Fewer marks a decade where there are many decades.
    for digits in ((1, 2, 5), (1, 3), (1,)):
        places = [digit * 10.0**power for power in powers for digit in digits]
        inside = [place for place in places if low <= place <= high]
        if len(inside) <= count + 1:
            break
    else:
        inside = inside[:: math.ceil(len(inside) / (count + 1))]
    ticks = [Tick(place, formats.tick_labels([place])[0]) for place in inside]
    return Axis(low, high, ticks, logarithmic=True)


def time_axis(times: NDArray[np.datetime64], count: int) -> Axis:
    """An axis over times, ticked at round hours, days, months or years.

    Args:
        times: dtype datetime64 of any unit, read as UTC.
        count: how many ticks there is room for, at most.

    Raises:
        ReportError: no time is known, or one is outside the years 1 to 9999.
    """
    seconds = seconds_of(times)
    outside = times[(seconds < _FIRST) | (seconds > _LAST)]
    if outside.size:
        raise ReportError(f"expected times in the years 1 to 9999, got {outside[0]}")
    low, high = _range(seconds)
    if np.nanmin(seconds) == np.nanmax(seconds):
        middle = float(np.nanmin(seconds))
        low, high = middle - _DAY / 2, middle + _DAY / 2
    start, end = _date(low), _date(high)
    for steps in _TIME_STEPS:
        dates = list(steps.between(start, end, count + 1))
        if len(dates) <= count:
            break
    else:  # more than a thousand years: count them
        years = linear_axis([start.year, end.year], count, loose=False).ticks
        dates = [datetime(int(tick.value), 1, 1, tzinfo=timezone.utc) for tick in years]
        dates = [date for date in dates if date >= start]
        steps = _TIME_STEPS[-1]
    return Axis(low, high, list(_dated(dates, steps.label, steps.context)))


def seconds_of(times: NDArray[np.datetime64]) -> NDArray[np.float64]:
    """Seconds since 1970 (UTC), to the microsecond; NaT is NaN."""
    seconds = times.astype("datetime64[us]").astype(np.int64) / 1e6
    return np.where(np.isnat(times), np.nan, seconds)


def _range(values: ArrayLike) -> tuple[float, float]:
    given = np.asarray(values, dtype=np.float64)
    finite = given[np.isfinite(given)]
    if finite.size == 0:
        raise ReportError(f"expected a finite value to draw, got none in {given.size}")
    low, high = float(finite.min()), float(finite.max())
    if high - low <= 1e-12 * max(abs(low), abs(high)):
        slack = abs(low) / 2 or 0.5
        low, high = low - slack, high + slack
    return low, high


def _round_step(step: float) -> float:
    """The next of 1, 2, 2.5, 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(digit * power for digit in (1, 2, 2.5, 5, 10) if digit * power >= step * (1 - 1e-9))


def _numbered(places: Sequence[float], *, percent: bool = False) -> list[Tick]:
    labels = formats.tick_labels(places, percent=percent) if places else []
    return [Tick(place, label) for place, label in zip(places, labels, strict=True)]


def _date(seconds: float) -> datetime:
    return _EPOCH + timedelta(seconds=min(max(seconds, _FIRST), _LAST))


@dataclass(frozen=True)
class _TimeStep:
    """Ticks every so many seconds or months, their label, and the context that begins with them."""

    label: Callable[[datetime], str]
    context: Callable[[datetime], str]
    seconds: int = 0
    months: int = 0

    def between(self, start: datetime, end: datetime, limit: int) -> Iterable[datetime]:
        """The round times from `start` to `end`, but no more than `limit` of them."""
        number = self._number(start)
        before, date = None, self._date(number)
        # At the last year the dates end: the next one is the same again.
        while limit > 0 and date <= end and date != before:
            if date >= start:
                yield date
                limit -= 1
            number += 1
            before, date = date, self._date(number)

    def _number(self, date: datetime) -> int:
        if self.months:
            return (12 * date.year + date.month - 1) // self.months
        return math.floor((date - _EPOCH).total_seconds() / self.seconds)

    def _date(self, number: int) -> datetime:
        if self.months:
            year, month = divmod(number * self.months, 12)
            return datetime(min(max(year, 1), 9999), month + 1, 1, tzinfo=timezone.utc)
        return _date(number * self.seconds)


def _time(date: datetime) -> str:
    return f"{date:%H:%M}" + (f":{date:%S}" if date.second else "")


def _day(date: datetime) -> str:
    return f"{date.day} {date:%b}"


def _day_and_year(date: datetime) -> str:
    return f"{date.day} {date:%b} {date.year}"


def _month(date: datetime) -> str:
    return f"{date:%b}"


def _year(date: datetime) -> str:
    return str(date.year)


def _nothing(date: datetime) -> str:
    return ""


_CLOCK_STEPS = (
    *(1, 5, 15, 30),
    *(_MINUTE, 5 * _MINUTE, 15 * _MINUTE, 30 * _MINUTE),
    *(_HOUR, 3 * _HOUR, 6 * _HOUR, 12 * _HOUR),
)
_TIME_STEPS = (
    *(_TimeStep(_time, _day_and_year, seconds=seconds) for seconds in _CLOCK_STEPS),
    *(_TimeStep(_day, _year, seconds=_DAY * days) for days in (1, 2, 4, 7, 14)),
    *(_TimeStep(_month, _year, months=months) for months in (1, 3, 6)),
    *(_TimeStep(_year, _nothing, months=12 * years) for years in (1, 2, 5, 10, 20, 50, 100, 200)),
)


def _dated(
    dates: Sequence[datetime],
    label: Callable[[datetime], str],
    context: Callable[[datetime], str],
) -> Iterable[Tick]:
    contexts = [context(date) for date in dates]
    # Two dates under neighbouring ticks would touch (two years would not): the second says enough.
    touching = len(contexts) > 2 and contexts[0] != contexts[1] and len(contexts[0]) > 4
    before = contexts[0] if touching else ""
    for date, around in zip(dates, contexts, strict=True):
        seconds = (date - _EPOCH).total_seconds()
        yield Tick(seconds, label(date), around if around != before else "")
        before = around
