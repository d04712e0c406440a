"""What the forecaster chooses where the user does not: window, segments, calendar, windows."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from fastlstm.data import SeriesColumns, TimeRange, read_series
from fastlstm.tasks import Forecaster
from fastlstm.tasks.forecasting_recipe import choose
from fastlstm.training import TrainingConfig
from forecasting_cases import SMALL


def test_what_is_read_is_chosen_from_the_series() -> None:
    hours = pd.DataFrame(
        {
            "unique_id": 0,
            "ds": pd.date_range("2024-01-01", periods=2_000, freq="h"),
            "y": np.random.default_rng(0).normal(size=2_000),
        }
    )
    months = hours[:144].assign(ds=pd.date_range("2000-01-01", periods=144, freq="MS"))
    counted = hours.assign(ds=range(2_000))
    rare = TrainingConfig(epochs=1, learning_rate=1e-12, batch_size=512, device="cpu")

    def recipe(frame: pd.DataFrame, horizon: int, **given: Any) -> Any:
        return Forecaster(horizon, lstm=SMALL, training=rare, **given).fit(frame).recipe_

    found = recipe(hours, 24)
    assert (found.input_chunk, found.segment, found.minimum_input) == (336, 24, 336)
    assert found.calendar == ("hour", "weekday")  # a year has not been seen twice
    assert found.windows == 1_800 - 336 - 24 + 1
    found = recipe(months, 12)
    assert (found.input_chunk, found.segment, found.calendar) == (36, 1, ("month",))
    assert found.windows == 1_024
    found = recipe(counted, 10)
    assert (found.input_chunk, found.calendar) == (30, ())
    # No more than half of what there is, in whole seasons.
    assert recipe(hours[:300], 24).input_chunk == 120
    # No more than 24 horizons, but a season at least; segments within the horizon.
    found = recipe(hours, 10)
    assert (found.input_chunk, found.segment) == (240, 10)
    assert recipe(hours, 1).input_chunk == 24
    found = recipe(hours, 24, input_chunk=48, segment=12, calendar=())
    assert (found.input_chunk, found.segment, found.calendar) == (48, 12, ())
    short = pd.concat([hours, hours[:200].assign(unique_id=1)])
    assert recipe(short, 24).minimum_input == 200 - 24 - 24  # held out, and the horizon
    tiny = pd.concat([short, hours[:30].assign(unique_id=2)])
    assert recipe(tiny, 24).minimum_input == 200 - 24 - 24


@pytest.mark.parametrize(
    ("horizon", "window", "segment"),
    # A segment is a 14th of the window, no more than the horizon, but a 48th at least.
    [(1, 288, 6), (3, 288, 6), (7, 288, 6), (12, 288, 12), (30, 576, 24), (288, 576, 36)],
)
def test_what_is_read_of_steps_of_five_minutes(horizon: int, window: int, segment: int) -> None:
    stamps = pd.date_range("2024-01-01", periods=1_600, freq="5min")
    series = read_series(pd.DataFrame({"unique_id": 0, "ds": stamps, "y": 1.0}))
    found = choose(series, TimeRange.whole(series), horizon, season=288)
    assert (found.input_chunk, found.segment) == (window, segment)


@pytest.mark.parametrize(
    ("count", "horizon", "windows"),
    [
        (3_000, 20, 3_000),
        (30_000, 20, 4_096),
        (80_000, 20, 10_000),
        (200_000, 20, 16_384),
        (200_000, 400, 5_000),
        (200_000, 900, 4_096),
    ],
)
def test_an_epoch_has_more_windows_where_there_are_many(
    count: int, horizon: int, windows: int
) -> None:
    frame = pd.DataFrame({"unique_id": 0, "ds": range(count + 49 + horizon), "y": 1.0})
    series = read_series(frame)
    found = choose(series, TimeRange.whole(series), horizon, season=1, input_chunk=50)
    assert found.windows == windows


def test_an_epoch_has_fewer_windows_where_each_has_much_to_forecast() -> None:
    stamps = {"unique_id": 0, "ds": range(8_000)}
    for targets, horizon, windows in ((1, 20, 4_096), (20, 20, 3_276), (5, 800, 2_000)):
        names = tuple(f"y{number}" for number in range(targets))
        frame = pd.DataFrame(stamps | dict.fromkeys(names, 1.0))
        series = read_series(frame, SeriesColumns(targets=names))
        found = choose(series, TimeRange.whole(series), horizon, season=1, input_chunk=50)
        assert found.windows == windows
