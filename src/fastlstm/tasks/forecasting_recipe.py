"""How to train on these series: what the forecaster chooses where the user does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fastlstm.data import DataError, SeriesSet, TimeRange, usual_calendar
from fastlstm.data.frequency import DAY
from fastlstm.models import LSTMConfig
from fastlstm.training import TrainingConfig

SUB_DAILY_SEASONS = 14
"""Two weeks are read where a season is a day."""

SEASONS = 3
"""So many seasons are read where a season is longer."""

HORIZONS = 3
"""So many horizons are read where there is no season."""

MOST_STEPS = 1_440
"""The window has no more steps."""

SEGMENTS = 14
"""The LSTM reads so many segments of a window, or a few more."""

SHORT = 64
"""A window that is shorter is read step by step."""

PERIODS = {"hour": 1, "weekday": 7, "day": 30.44, "month": 365.25}
"""The length of what a calendar feature tells, in days."""

MOST_WINDOWS = 8_192
"""Windows of an epoch, all channels together counted as one."""

UPDATES = 1_000
"""About so many updates are made, in this many epochs."""

LEAST_EPOCHS, EPOCHS = 4, 50


@dataclass(frozen=True)
class Recipe:
    """What is chosen.

    Args:
        input_chunk: how many steps are read.
        minimum_input: how many of them must be real.
        segment: how many of them the LSTM reads at once.
        calendar: the features of the calendar.
        lstm: the layers.
        training: how it is trained.
        windows: how many windows are trained on; they are drawn at random from all.
    """

    input_chunk: int
    minimum_input: int
    segment: int
    calendar: tuple[str, ...]
    lstm: LSTMConfig
    training: TrainingConfig
    windows: int


def choose(
    series: SeriesSet,
    train: TimeRange,
    horizon: int,
    season: int,
    input_chunk: int | None = None,
    segment: int | None = None,
    calendar: Sequence[str] | None = None,
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

    Raises:
        DataError: no series has a step to forecast from.
    """
    longest, shortest = int(train.lengths.max()), int(train.lengths.min())
    if longest <= horizon:
        raise DataError(
            f"the longest series has {longest} steps to train on: expected more than the horizon "
            f"of {horizon}, after what is held out for validation"
        )
    window = _window(longest, horizon, season, series) if input_chunk is None else input_chunk
    minimum = window if shortest >= window + horizon else max(1, min(window, shortest - horizon))
    count = int(np.maximum(0, train.lengths - minimum - horizon + 1).sum())
    return Recipe(
        input_chunk=window,
        minimum_input=minimum,
        segment=_segment(window) if segment is None else segment,
        calendar=_calendar(series, train) if calendar is None else tuple(calendar),
        lstm=LSTMConfig(hidden_size=64),
        training=_training(min(count, MOST_WINDOWS)),
        windows=MOST_WINDOWS,
    )


def _window(longest: int, horizon: int, season: int, series: SeriesSet) -> int:
    """Some seasons and horizons, but no more than half of what there is."""
    sub_daily = series.frequency.unit == "microseconds" and series.frequency.step < DAY
    seasons = SUB_DAILY_SEASONS if sub_daily else SEASONS
    wanted = min(MOST_STEPS, max(seasons * season, HORIZONS * horizon if season == 1 else horizon))
    window = max(1, min(wanted, (longest - horizon) // 2))
    return window - window % season if window >= season else window


def _segment(window: int) -> int:
    """The greatest divisor that leaves `SEGMENTS` segments at least."""
    if window < SHORT:
        return 1
    return max(size for size in range(1, window // SEGMENTS + 1) if window % size == 0)


def _calendar(series: SeriesSet, train: TimeRange) -> tuple[str, ...]:
    """What tells steps apart and has been seen twice in training."""
    usual = usual_calendar(series.frequency)
    if not usual:
        return ()
    index = int(train.lengths.argmax())
    stamps = series.stamps(index)[: int(train.lengths[index])]
    days = (stamps[-1] - stamps[0]) / np.timedelta64(1, "D")
    return tuple(name for name in usual if days >= 2 * PERIODS[name])


def _training(windows: int) -> TrainingConfig:
    """About as many updates whatever the number of windows."""
    batch = min(32, max(8, 2 ** int(np.log2(max(1, windows / 10)))))
    updates = -(-windows // batch)
    epochs = min(EPOCHS, max(LEAST_EPOCHS, round(UPDATES / updates)))
    return TrainingConfig(epochs=epochs, batch_size=batch, learning_rate=3e-3)
