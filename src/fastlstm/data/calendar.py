"""What a time stamp says about a step: features that are known for the future too."""

from collections.abc import Sequence

import numpy as np

from fastlstm.data.errors import DataError
from fastlstm.data.frequency import DAY, Frequency

CALENDAR = ("hour", "weekday", "day", "month")


def calendar_features(stamps: np.ndarray, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Where in its period each time stamp lies, as a point on a circle: sine and cosine.

    Args:
        stamps: datetime64 `(S,)`.
        names: some of `hour` (where in the day), `weekday` (where in the week, from Monday), `day`
            (where in the month) and `month` (where in the year).

    Returns:
        For each name two float32 arrays `(S,)`, such as `hour_sin` and `hour_cos`, from −1 to 1.

    Raises:
        DataError: a name is none of these, or the time stamps are counted.
    """
    unknown = [name for name in names if name not in CALENDAR]
    if unknown:
        raise DataError(
            f"no calendar feature {unknown[0]!r}: expected some of {', '.join(CALENDAR)}"
        )
    if names and stamps.dtype.kind != "M":
        raise DataError("calendar features need dates: these time stamps are integers")
    features = {}
    for name in names:
        angle = 2 * np.pi * _share(stamps, name)
        features[f"{name}_sin"] = np.sin(angle).astype(np.float32)
        features[f"{name}_cos"] = np.cos(angle).astype(np.float32)
    return features


def usual_calendar(frequency: Frequency) -> tuple[str, ...]:
    """The calendar features that tell steps of a frequency apart."""
    if frequency.unit == "integers":
        return ()
    if frequency.unit == "months":
        return ("month",) if frequency.step % 12 else ()
    if frequency.unit == "microseconds":
        if frequency.step < DAY:
            return ("hour", "weekday", "month")
        if frequency.step >= 7 * DAY:
            return ("month",)
    return ("weekday", "day", "month")


def _share(stamps: np.ndarray, name: str) -> np.ndarray:
    """How much of its period has passed, from 0 to 1."""
    days = stamps.astype("datetime64[D]")
    if name == "hour":
        return (stamps - days) / np.timedelta64(1, "D")
    if name == "weekday":
        # Day 0 of datetime64, 1 January 1970, was a Thursday: 3 days after Monday.
        return (stamps.astype("datetime64[us]").astype(np.int64) / DAY + 3) % 7 / 7
    unit = "M" if name == "day" else "Y"
    start = stamps.astype(f"datetime64[{unit}]")
    end = start + np.timedelta64(1, unit)
    one = np.timedelta64(1, "us")
    begin = start.astype("datetime64[us]")
    length = (end.astype("datetime64[us]") - begin) / one
    return ((stamps - begin) / one) / length
