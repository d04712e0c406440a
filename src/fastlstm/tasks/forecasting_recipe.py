"""How to train on these series: what the forecaster chooses where the user does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fastlstm.data import DataError, SeriesSet, TimeRange, usual_calendar
from fastlstm.data.frequency import DAY

SHORT_SEASONS = 14
"""So many seasons are read where a season is a day or a week."""

SEASONS = 3
"""So many seasons are read where a season is a year."""

HORIZONS = 3
"""So many horizons are read where no season is known."""

MOST_HORIZONS = 24
"""No more horizons are read, but a season at least: the next steps follow from the last ones.

A long window also leaves fewer steps of short series to learn from.
"""

MOST_STEPS = 1_440
"""The window has no more steps."""

SEGMENTS, MOST_SEGMENTS = 14, 48
"""The LSTM reads so many segments of a window at least; and no more than the second number, or a
few more, only so that none is longer than the horizon."""

SHORT = 64
"""A window that is shorter is read step by step."""

PERIODS = {"hour": 1, "weekday": 7, "day": 30.44, "month": 365.25}
"""The length of what a calendar feature tells, in days."""

LEAST_WINDOWS, MANY_WINDOWS, MOST_WINDOWS = 1_024, 4_096, 16_384
"""Windows of an epoch: of fewer all are repeated; of many more, a share is drawn, but so many."""

SHARE, MANY_VALUES = 8, 2_000_000
"""Where there are many windows, an epoch has an eighth, up to so many values that are forecast."""

MOST_ROWS, MOST_VALUES = 65_536, 8_000_000
"""Windows of an epoch with many targets, each of them counted; and values that are forecast.

Where the least windows have more targets, some are drawn: an epoch of hundreds costs no more.
"""


@dataclass(frozen=True)
class Recipe:
    """What is chosen.

    Args:
        input_chunk: how many steps are read.
        minimum_input: how many of them must be real.
        segment: how many of them the LSTM reads at once.
        calendar: the features of the calendar.
        windows: how many windows an epoch has.
        targets: how many targets of a window are trained on at once; others in each epoch.
    """

    input_chunk: int
    minimum_input: int
    segment: int
    calendar: tuple[str, ...]
    windows: int
    targets: int


def choose(
    series: SeriesSet,
    train: TimeRange,
    horizon: int,
    season: int,
    input_chunk: int | None = None,
    segment: int | None = None,
    calendar: Sequence[str] | None = None,
    joint: bool = False,
) -> Recipe:
    """Choose for these series.

    Args:
        series: all steps.
        train: those that are trained on.
        horizon: how many steps are forecast.
        season: how many steps a season has.
        input_chunk: the user's choice; None: to be chosen.
        segment: the user's choice; None: to be chosen.
        calendar: the user's choice; None: to be chosen.
        joint: whether the targets can only be read together.

    Raises:
        DataError: no series has a step to forecast from.
    """
    longest = int(train.lengths.max())
    if longest <= horizon:
        raise DataError(
            f"the longest series has {longest} steps to train on: expected more than the horizon "
            f"of {horizon}, after what is held out for validation"
        )
    window = _window(longest, horizon, season, series) if input_chunk is None else input_chunk
    # A series without a single window decides nothing.
    shortest = int(train.lengths[train.lengths > horizon].min())
    minimum = window if shortest >= window + horizon else max(1, min(window, shortest - horizon))
    targets = len(series.columns.targets)
    most = min(MOST_ROWS // targets, MOST_VALUES // (targets * horizon))
    count = int(np.maximum(0, train.lengths - minimum - horizon + 1).sum())
    drawn = min(count // SHARE, MOST_WINDOWS, MANY_VALUES // (targets * horizon))
    windows = max(LEAST_WINDOWS, min(max(MANY_WINDOWS, drawn), count, most))
    if not joint:
        each = min(MOST_ROWS // windows, MOST_VALUES // (windows * horizon))
        targets = min(targets, max(1, each))
    return Recipe(
        input_chunk=window,
        minimum_input=minimum,
        segment=_segment(window, horizon) if segment is None else segment,
        calendar=_calendar(series, train) if calendar is None else tuple(calendar),
        windows=windows,
        targets=targets,
    )


def _window(longest: int, horizon: int, season: int, series: SeriesSet) -> int:
    """Some seasons and horizons, but no more than half of what there is."""
    frequency = series.frequency
    is_short = frequency.unit == "business days" or (
        frequency.unit == "microseconds" and season * frequency.step < 30 * DAY
    )
    wanted = (SHORT_SEASONS if is_short else SEASONS) * season if season > 1 else HORIZONS * horizon
    wanted = min(MOST_STEPS, wanted, max(season, MOST_HORIZONS * horizon))
    window = max(1, min(wanted, (longest - horizon) // 2))
    return window - window % season if window >= season else window


def _segment(window: int, horizon: int) -> int:
    """The greatest divisor that leaves enough segments; see `SEGMENTS`."""
    if window < SHORT:
        return 1
    longest = min(window // SEGMENTS, max(horizon, window // MOST_SEGMENTS))
    return max(size for size in range(1, longest + 1) if window % size == 0)


def _calendar(series: SeriesSet, train: TimeRange) -> tuple[str, ...]:
    """What tells steps apart and has been seen twice in training."""
    usual = usual_calendar(series.frequency)
    if not usual:
        return ()
    index = int(train.lengths.argmax())
    last = series.frequency.stamps(series.first[index], train.lengths[index] - 1)
    days = (last - series.first[index]) / np.timedelta64(1, "D")
    return tuple(name for name in usual if days >= 2 * PERIODS[name])
