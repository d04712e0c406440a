"""How forecasts are measured: each figure against its formula, and cross-validation."""

import numpy as np
import pandas as pd
import pytest

from fastlstm.data import SeriesColumns, TimeRange, read_series
from fastlstm.tasks import Forecaster, TaskError
from fastlstm.tasks.forecasting_scores import naive_scale, seasonal_naive
from forecasting_cases import as_pandas, last_steps, small, waves, without_last
from series_frames import LIBRARIES

HORIZON = 5


@pytest.fixture(scope="module")
def fitted() -> Forecaster:
    return small().fit(without_last(waves(), HORIZON))


def table(frame: pd.DataFrame, column: str) -> np.ndarray:
    """(N, steps) of a column."""
    return np.stack([part.to_numpy() for _, part in frame.groupby("unique_id", sort=False)[column]])


def test_every_figure_is_its_formula(fitted: Forecaster) -> None:
    frame = waves()
    y = table(last_steps(frame, HORIZON), "y").astype(np.float32)
    past = table(without_last(frame, HORIZON), "y").astype(np.float32)
    naive = past[:, -7:][:, np.arange(HORIZON) % 7]
    answers = fitted.predict(without_last(frame, HORIZON), level=[20, 40, 60, 80, 90])
    found = fitted.evaluate(frame)
    scale = np.abs(past[:, 7:] - past[:, :-7]).mean(axis=1)[:, None]
    for prefix, forecast in (("", table(answers, "LSTM")), ("naive_", naive)):
        error = np.abs(forecast - y)
        expected = {
            "mae": error.mean(),
            "mse": (error**2).mean(),
            "rmse": (error**2).mean() ** 0.5,
            "smape": 200 * (error / (np.abs(forecast) + np.abs(y))).mean(),
            "mase": (error / scale).mean(),
        }
        for name, value in expected.items():
            assert found[prefix + name] == pytest.approx(value, rel=1e-4), prefix + name
    for level in (80, 90):
        low, high = table(answers, f"LSTM-lo-{level}"), table(answers, f"LSTM-hi-{level}")
        assert found[f"coverage_{level}"] == ((low <= y) & (y <= high)).mean()
    quantiles = {0.5: "LSTM"}
    quantiles |= {0.5 - percent / 200: f"LSTM-lo-{percent}" for percent in (20, 40, 60, 80)}
    quantiles |= {0.5 + percent / 200: f"LSTM-hi-{percent}" for percent in (20, 40, 60, 80)}
    losses = []
    for level, name in quantiles.items():
        error = y - table(answers, name)
        losses.append(2 * np.maximum(level * error, (level - 1) * error).mean())
    assert found["crps"] == pytest.approx(np.mean(losses), rel=1e-4)


def test_figures_in_the_spread_of_each_target() -> None:
    columns = SeriesColumns(targets=("y", "other"))
    frame = waves().assign(other=lambda frame: 1000 * frame["other"])
    forecaster = small(columns=columns, validation=12).fit(without_last(frame, HORIZON))
    answers = forecaster.predict(without_last(frame, HORIZON))
    train = without_last(frame, HORIZON + 12)
    errors = []
    for name in ("y", "other"):
        actual = table(last_steps(frame, HORIZON), name)
        error = np.abs(table(answers, f"{name}-LSTM") - actual)
        errors.append(error / train[name].std(ddof=0))
    found = forecaster.evaluate(frame, standardised=True)
    assert found["mae"] == pytest.approx(np.mean(errors), rel=1e-4)
    assert found["mse"] == pytest.approx((np.array(errors) ** 2).mean(), rel=1e-4)
    assert forecaster.evaluate(frame)["mae"] > 100 * found["mae"]


def test_every_window_of_the_end_counts_once(fitted: Forecaster) -> None:
    frame = waves()
    scores = fitted.measure(frame, steps=9, stride=2)
    assert scores.windows == 3 * 3
    by_step = np.zeros((2, HORIZON))
    for left in (9, 7, 5):
        past = without_last(frame, left)
        y = table(without_last(frame, left - HORIZON), "y")[:, -HORIZON:]
        forecast = table(fitted.predict(past), "LSTM")
        naive = table(past, "y")[:, -7:][:, np.arange(HORIZON) % 7]
        by_step += np.stack([np.abs(found - y).mean(axis=0) / 3 for found in (forecast, naive)])
    assert scores.by_step == pytest.approx(by_step[0], rel=1e-4)
    assert scores.naive_by_step == pytest.approx(by_step[1], rel=1e-4)
    assert scores.figures["mae"] == pytest.approx(by_step[0].mean(), rel=1e-4)


def test_seasonal_naive_repeats_the_season_or_the_last_value() -> None:
    frame = pd.DataFrame({"unique_id": 0, "ds": range(6), "y": [1.0, 2, 3, 4, 5, 6]})
    series = read_series(frame)
    number, origin = np.array([0, 0]), np.array([2, 5])
    found = seasonal_naive(series, number, origin, 4, season=3)[..., 0]
    assert found.tolist() == [[2, 2, 2, 2], [3, 4, 5, 3]]
    whole = TimeRange.whole(series)
    assert naive_scale(series, whole, 2).tolist() == [[2.0]]
    assert naive_scale(series, whole, 6).tolist() == [[1.0]]
    flat = read_series(frame.assign(y=1.0))
    assert np.isnan(naive_scale(flat, whole, 2)).all()


def test_the_season_is_that_of_the_frequency_or_the_users(fitted: Forecaster) -> None:
    frame = waves()
    weekly = fitted.evaluate(frame)
    daily = small(season_length=1).fit(without_last(frame, HORIZON)).evaluate(frame)
    y = table(last_steps(frame, HORIZON), "y")
    last = table(without_last(frame, HORIZON), "y")[:, -1:]
    assert daily["naive_mae"] == pytest.approx(np.abs(last - y).mean(), rel=1e-4)
    assert daily["naive_mae"] != pytest.approx(weekly["naive_mae"], rel=1e-2)
    with pytest.raises(TaskError, match=r"^season_length is 0: expected a whole number"):
        small(season_length=0).fit(frame)


def test_two_zeros_are_no_error_and_flat_series_have_no_mase() -> None:
    frame = waves().assign(y=0.0)
    found = small(output="point").fit(frame).evaluate(frame)
    assert found["naive_smape"] == 0.0
    assert np.isnan(found["naive_mase"])
    assert small().fit(waves()).score(frame) == 0.0


def test_levels_that_the_network_does_not_have_are_not_measured() -> None:
    found = small(levels=(0.1, 0.5, 0.9)).fit(waves()).evaluate(waves())
    assert "coverage_80" in found
    assert "coverage_90" not in found
    only = small(levels=(0.45,)).fit(waves()).evaluate(waves())
    assert not {"crps", "coverage_80"} & only.keys()


@pytest.mark.parametrize("library", list(LIBRARIES))
def test_cross_validation(library: str) -> None:
    frame = waves()
    forecaster = small()
    given = LIBRARIES[library](frame)
    found = forecaster.cross_validation(given, windows=2, step=3, level=[80])
    assert type(found) is type(given)
    assert not hasattr(forecaster, "network_")
    found = as_pandas(found)
    names = ["unique_id", "ds", "cutoff", "y", "LSTM", "LSTM-lo-80", "LSTM-hi-80"]
    assert sorted(found.columns) == sorted(names)
    model = small().fit(without_last(frame, 8))
    for left in (8, 5):
        past = without_last(frame, left)
        part = found[found["cutoff"] == past["ds"].max()]
        assert len(part) == 3 * HORIZON
        expected = model.predict(past, level=[80])
        for name in ("LSTM", "LSTM-lo-80", "LSTM-hi-80"):
            assert np.allclose(part[name], expected[name], rtol=1e-5)
        assert pd.to_datetime(part["ds"]).tolist() == expected["ds"].tolist()
        actual = last_steps(without_last(frame, left - HORIZON), HORIZON)
        assert np.allclose(part["y"], actual["y"])


def test_cross_validation_trains_anew_where_it_is_asked_to() -> None:
    frame = waves()
    once = small().cross_validation(frame, windows=2)
    anew = small().cross_validation(frame, windows=2, refit=True)
    late = once["cutoff"] == once["cutoff"].max()
    assert np.array_equal(once["LSTM"][~late], anew["LSTM"][~late])
    expected = small().fit(without_last(frame, HORIZON)).predict()
    assert np.allclose(anew["LSTM"][late], expected["LSTM"], rtol=1e-5)
    assert not np.allclose(once["LSTM"][late], expected["LSTM"], rtol=1e-5)
