"""How far apart the steps of a series are, and which time stamp each step has.

Time stamps are numpy arrays: `datetime64[us]`, or int64 for steps that are counted.
"""

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np

from fastlstm.data.errors import DataError

SECOND = 1_000_000
DAY = 86_400 * SECOND

Unit = Literal["integers", "microseconds", "business days", "months"]

_STRETCH = 2**16  # rows

_FIXED = {
    "s": SECOND,
    "sec": SECOND,
    "min": 60 * SECOND,
    "t": 60 * SECOND,
    "h": 3600 * SECOND,
    "d": DAY,
    "w": 7 * DAY,
}
# The letters of pandas, of Polars and of words; months that end a period mean its last day.
_MONTHS = {
    "mo": (1, False),
    "ms": (1, False),
    "m": (1, True),
    "me": (1, True),
    "q": (3, False),
    "qs": (3, False),
    "qe": (3, True),
    "y": (12, False),
    "ys": (12, False),
    "ye": (12, True),
}
_NAMES = {
    60 * SECOND: "minute",
    3600 * SECOND: "hour",
    DAY: "day",
    7 * DAY: "week",
}


@dataclass(frozen=True)
class Frequency:
    """The distance between two steps of a series.

    Args:
        unit: what `step` counts.
        step: how many of them; at least 1.
        month_end: with months: a step is the last day of its month, whatever its number.
    """

    unit: Unit
    step: int
    month_end: bool = False

    @classmethod
    def parse(cls, text: str) -> "Frequency":
        """Read a frequency as pandas and Polars write them.

        `15min`, `h`, `D`, `B` (business days), `W`, `MS` or `mo` (months), `ME` (month ends), `QS`,
        `QE`, `YS`, `YE`, or a number for steps that are counted.

        Raises:
            DataError: it is none of these.
        """
        found = re.fullmatch(r"(\d*)([a-z]*)(?:-[a-z]{3})?", text.strip().lower())
        number, letters = found.groups() if found else ("0", "")
        step = int(number or 1)
        if step >= 1:
            if not letters and number:
                return cls("integers", step)
            if letters == "b":
                return cls("business days", step)
            if letters in _FIXED:
                return cls("microseconds", step * _FIXED[letters])
            if letters in _MONTHS:
                months, month_end = _MONTHS[letters]
                return cls("months", step * months, month_end)
        raise DataError(
            f"unknown frequency {text!r}: expected such as 15min, h, D, B, W, MS, QS, YS or 1"
        )

    def __str__(self) -> str:
        if self.unit == "integers":
            return _plural(self.step, "step")
        if self.unit == "business days":
            return _plural(self.step, "business day")
        if self.unit == "months":
            kinds = {0: (12, "year"), 3: (3, "quarter"), 6: (3, "quarter"), 9: (3, "quarter")}
            months, name = kinds.get(self.step % 12, (1, "month"))
            return _plural(self.step // months, name + (" end" if self.month_end else ""))
        for size, name in sorted(_NAMES.items(), reverse=True):
            if self.step % size == 0:
                return _plural(self.step // size, name)
        return f"{self.step / SECOND:g} seconds"

    @property
    def season_length(self) -> int:
        """After how many steps a season usually repeats; 1 where none is known.

        A day for steps of less than a day, a week for days, a year for weeks, months and quarters.
        """
        if self.unit == "business days":
            return 5 if self.step == 1 else 1
        if self.unit == "months":
            return 12 // self.step if 12 % self.step == 0 else 1
        if self.unit == "microseconds":
            if self.step < DAY:
                return DAY // self.step if DAY % self.step == 0 and self.step >= SECOND else 1
            return {DAY: 7, 7 * DAY: 52}.get(self.step, 1)
        return 1

    def positions(self, stamps: np.ndarray, first: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The number of steps from `first` to each time stamp.

        Args:
            stamps: `(S,)`.
            first: the stamp of step 0, for each: `(S,)` or a scalar.

        Returns:
            int64 `(S,)`, and bool `(S,)`: whether it is a whole number of steps.
        """
        if self.unit in ("integers", "microseconds"):
            distance = (stamps - first).astype(np.int64)
            return distance // self.step, distance % self.step == 0
        days, first_days = stamps.astype("datetime64[D]"), first.astype("datetime64[D]")
        same_time = stamps - days == first - first_days
        if self.unit == "business days":
            distance = np.busday_count(first_days, days)
            exact = same_time & np.is_busday(days) & np.is_busday(first_days)
            return distance // self.step, exact & (distance % self.step == 0)
        months, first_months = stamps.astype("datetime64[M]"), first.astype("datetime64[M]")
        distance = (months - first_months).astype(np.int64)
        if self.month_end:
            wanted = _days_of(months)
        else:
            wanted = np.minimum((first_days - first_months).astype(np.int64) + 1, _days_of(months))
        exact = (days - months).astype(np.int64) + 1 == wanted
        return distance // self.step, exact & same_time & (distance % self.step == 0)

    def stamps(self, first: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """The time stamps that lie `positions` steps after `first`: the inverse of `positions`.

        Args:
            first: scalar array or `(S,)`.
            positions: int64 `(S,)`.
        """
        distance = positions * self.step
        if self.unit == "integers":
            return first + distance
        if self.unit == "microseconds":
            return first + distance.astype("timedelta64[us]")
        days = first.astype("datetime64[D]")
        time = first - days
        if self.unit == "business days":
            return np.busday_offset(days, distance).astype("datetime64[us]") + time
        months = first.astype("datetime64[M]")
        day = (days - months).astype(np.int64)
        months = months + distance.astype("timedelta64[M]")
        last_day = _days_of(months) - 1
        day = last_day if self.month_end else np.minimum(day, last_day)
        return (months.astype("datetime64[D]") + day).astype("datetime64[us]") + time


def infer_frequency(stamps: np.ndarray, offsets: np.ndarray) -> Frequency:
    """Find the frequency that sorted time stamps have: the most common distance.

    Months, quarters and years are found where all stamps of a series are on the same day of the
    month or all on the last one; business days, where steps of a day never fall on a weekend.

    Args:
        stamps: those of all series, one series behind the other, each ascending.
        offsets: `(N + 1,)`: where each series begins; the last one is the number of stamps.

    Raises:
        DataError: no series has two rows.
    """
    inside = np.ones(len(stamps), dtype=bool)
    inside[offsets[:-1]] = False
    if not inside.any():
        raise DataError("cannot tell the frequency from series of one row: give `frequency`")
    inside = inside[1:]
    distances, counts = _distances(stamps, inside)
    step = int(distances[counts.argmax()])
    if stamps.dtype.kind != "M":
        return Frequency("integers", step)
    if distances.min() >= 28 * DAY:
        months = _infer_months(stamps, offsets, inside)
        if months is not None:
            return months
    if step == DAY and (distances % DAY == 0).all() and (distances == 3 * DAY).any():
        weekend = ~np.is_busday(stamps.astype("datetime64[D]"))
        if not weekend.any():
            return Frequency("business days", 1)
    return Frequency("microseconds", step)


def _distances(stamps: np.ndarray, inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distances of two rows of a series, ascending, and how often each of them is there."""
    counts: dict[int, int] = {}
    # A stretch at a time: the distances of all rows are as long as the stamps.
    for start in range(0, len(inside), _STRETCH):
        part = np.diff(stamps[start : start + _STRETCH + 1]).view(np.int64)
        found, times = np.unique(part[inside[start : start + _STRETCH]], return_counts=True)
        for distance, count in zip(found.tolist(), times.tolist(), strict=True):
            counts[distance] = counts.get(distance, 0) + count
    distances = np.array(sorted(counts))
    return distances, np.array([counts[distance] for distance in distances.tolist()])


def _infer_months(stamps: np.ndarray, offsets: np.ndarray, inside: np.ndarray) -> Frequency | None:
    months, days = stamps.astype("datetime64[M]"), stamps.astype("datetime64[D]")
    step = _most_common(np.diff(months).astype(np.int64)[inside])
    if ((days - months).astype(np.int64) + 1 == _days_of(months)).all():
        return Frequency("months", step, month_end=True)
    frequency = Frequency("months", step)
    first = np.repeat(stamps[offsets[:-1]], np.diff(offsets))
    _, same_day = Frequency("months", 1).positions(stamps, first)
    return frequency if same_day.all() else None


def _days_of(months: np.ndarray) -> np.ndarray:
    """The number of days of each month."""
    start = months.astype("datetime64[D]")
    return ((months + np.timedelta64(1, "M")).astype("datetime64[D]") - start).astype(np.int64)


def _most_common(values: np.ndarray) -> int:
    found, counts = np.unique(values, return_counts=True)
    return int(found[counts.argmax()])


def _plural(number: int, name: str) -> str:
    return f"1 {name}" if number == 1 else f"{number} {name}s"
