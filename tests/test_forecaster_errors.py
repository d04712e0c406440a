"""`Forecaster`: what it refuses, and what it says then; gaps that are filled as the user says."""

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError

from fastlstm.data import DataError, SeriesColumns
from fastlstm.models import ModelError
from fastlstm.tasks import Forecaster, TaskError
from forecasting_cases import small, waves


@pytest.fixture(scope="module")
def fitted() -> Forecaster:
    return small().fit(waves())


def fails(kind: type[Exception], message: str) -> Any:
    return pytest.raises(kind, match=f"^{re.escape(message)}$")


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        (
            {"validation": "a tenth"},
            TaskError,
            "validation is 'a tenth': expected a share below 1 or a number of steps",
        ),
        (
            {"validation": 1.5},
            TaskError,
            "validation is 1.5: expected a share below 1 or a number of steps",
        ),
        (
            {"validation": -2},
            TaskError,
            "validation is -2: expected a share below 1 or a number of steps",
        ),
        ({"horizon": 0}, TaskError, "horizon is 0: expected a whole number of at least 1"),
        ({"input_chunk": 0}, TaskError, "input_chunk is 0: expected a whole number of at least 1"),
        (
            {"segment": 4},
            ModelError,
            "segment must divide the window of 14 steps, got 4",
        ),
        (
            {"horizon": 30},
            DataError,
            "the longest series has 30 steps to train on: expected more than the horizon of 30, "
            "after what is held out for validation",
        ),
        (
            {"calendar": ("moon",)},
            DataError,
            "no calendar feature 'moon': expected some of hour, weekday, day, month",
        ),
        (
            {"output": "mean"},
            ModelError,
            "kind must be one of point, quantile, normal, student_t, negative_binomial, got 'mean'",
        ),
        (
            {"output": "negative_binomial", "normalization": "last"},
            ModelError,
            "counts can be scaled but not shifted: a negative binomial output needs the "
            "normalization 'scale' or 'none', got 'last'",
        ),
        (
            {"frequency": "fortnightly"},
            DataError,
            "unknown frequency 'fortnightly': expected such as 15min, h, D, B, W, MS, QS, YS or 1",
        ),
    ],
)
def test_parameters(arguments: dict[str, Any], kind: type[Exception], message: str) -> None:
    with fails(kind, message):
        small(**arguments).fit(waves())


def test_it_must_be_fitted() -> None:
    for call in (
        lambda: small().predict(),
        lambda: small().evaluate(waves()),
        lambda: small().score(waves()),
        lambda: small().save("nowhere"),
    ):
        with pytest.raises(NotFittedError):
            call()


def test_intervals(fitted: Forecaster) -> None:
    with fails(TaskError, "level holds 120: expected percents between 0 and 100"):
        fitted.predict(level=[80, 120])
    message = "level 0.005 lies outside of the levels 0.025 to 0.975 that the network knows"
    with fails(ModelError, message):
        fitted.predict(level=[99])
    with fails(ModelError, "a point forecast has no quantiles: use another output"):
        small(output="point").fit(waves()).predict(level=[80])


def test_an_array_is_none_of_a_frames_forecaster(fitted: Forecaster) -> None:
    with fails(DataError, "an array: expected a data frame, as in fit"):
        fitted.predict(np.zeros(30))
    of_array = small().fit(np.arange(60.0))
    with fails(DataError, "a data frame: expected an array, as in fit"):
        of_array.predict(waves())
    with fails(DataError, "an array of 2 targets: expected 1, as in fit"):
        of_array.predict(np.zeros((30, 2)))
    message = "columns names covariates: expected a data frame, got an array"
    with fails(DataError, message):
        small(columns=SeriesColumns(past=("weather",))).fit(np.arange(60.0))
    with fails(
        DataError,
        "an array of shape (2, 2, 2, 2): expected (T,), (T, C) or (N, T, C), time before targets",
    ):
        small().fit(np.zeros((2, 2, 2, 2)))


def test_the_future_must_be_known() -> None:
    forecaster = small(columns=SeriesColumns(future=("sale",))).fit(waves())
    with fails(DataError, "forecasts need the future of sale: expected a frame of it"):
        forecaster.predict()
    ahead = waves(days=64)[["unique_id", "ds", "sale"]]
    with fails(
        DataError,
        "future covariate 'sale' is missing for series 'shop 0' at 2024-03-05: expected a number "
        "for each of the 5 steps from 2024-03-01",
    ):
        forecaster.predict(future=ahead)


def test_cross_validation_needs_room() -> None:
    with fails(TaskError, "windows is 0: expected a whole number of at least 1"):
        small().cross_validation(waves(), windows=0)
    with fails(TaskError, "step is 0: expected a whole number of at least 1"):
        small().cross_validation(waves(), windows=2, step=0)
    message = "series 'shop 0' has 60 steps: expected more than the 100 that are cut off"
    with fails(DataError, message):
        small().cross_validation(waves(), windows=20)


def test_gaps_are_refused_or_filled() -> None:
    frame = waves()
    gaps = frame.drop(index=[7, 8]).assign(y=lambda frame: frame["y"].mask(frame.index == 20))
    with pytest.raises(DataError, match=r"^no row for series 'shop 0' at 2024-01-08, and 2 "):
        small().fit(gaps)
    with pytest.raises(DataError, match=r"^column 'y' is missing in series 'shop 0' at 2024-01"):
        small().fit(gaps.loc[9:])
    filled = frame.assign(y=frame["y"].mask(frame.index.isin([7, 8, 20])).ffill())
    found = small(fill="forward").fit(gaps)
    assert found.predict().equals(small().fit(filled).predict())
    array = waves(1)["y"].to_numpy().copy()
    broken = array.copy()
    broken[[5, 6]] = np.nan
    with pytest.raises(DataError, match=r"^'y' is nan at step 5 of series 0: expected"):
        small().fit(broken)
    array[5:7] = array[4]
    found = small(fill="forward").fit(broken).predict()
    assert np.array_equal(found, small().fit(array).predict())
    assert np.isfinite(small(fill="linear").fit(broken).predict()).all()


def test_names_that_cannot_be_saved(tmp_path: Any) -> None:
    frame = waves().assign(unique_id=pd.Timestamp("2024-01-01"), ds=range(180))
    with pytest.raises(TaskError, match=r"is named by a .*, which cannot be saved: expected"):
        small().fit(frame).save(tmp_path / "model")
