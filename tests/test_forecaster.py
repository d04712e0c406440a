"""`Forecaster`: frames and arrays in, frames and arrays out; what it learns; the disk."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone

from fastlstm.data import SeriesColumns, series, series_frames
from fastlstm.models import ForecastNetwork
from fastlstm.tasks import Forecaster, series_estimator
from fastlstm.tasks.forecasting import seasonal_mean
from fastlstm.training import EpochDone, Interrupted, RunFolderError, TrainingConfig
from forecasting_cases import SHORT, SMALL, as_pandas, last_steps, small, waves, without_last
from series_frames import LIBRARIES

COLUMNS = SeriesColumns(past=("weather",), future=("sale",), static=("kind", "size"))


@pytest.fixture(scope="module")
def fitted() -> Forecaster:
    return small().fit(waves())


@pytest.fixture(scope="module")
def with_covariates() -> Forecaster:
    return small(columns=COLUMNS).fit(waves())


@pytest.mark.parametrize("library", list(LIBRARIES))
def test_a_frame_comes_back_as_the_users_own(library: str, fitted: Forecaster) -> None:
    frame = LIBRARIES[library](waves())
    found = small().fit(frame).predict(level=[80, 90])
    assert type(found) is type(frame)
    table = as_pandas(found)
    assert table.columns.tolist() == [
        "unique_id", "ds", "LSTM", "LSTM-lo-80", "LSTM-hi-80", "LSTM-lo-90", "LSTM-hi-90"
    ]  # fmt: skip
    expected = fitted.predict(level=[80, 90])
    assert table["unique_id"].tolist() == ["shop 0"] * 5 + ["shop 1"] * 5 + ["shop 2"] * 5
    assert pd.to_datetime(table["ds"])[:5].tolist() == list(pd.date_range("2024-03-01", periods=5))
    for name in expected.columns[2:]:
        assert np.array_equal(table[name], expected[name])
    order = table[["LSTM-lo-90", "LSTM-lo-80", "LSTM", "LSTM-hi-80", "LSTM-hi-90"]].to_numpy()
    assert (np.diff(order, axis=1) > 0).all()


def test_it_learns() -> None:
    frame = waves(days=90)
    forecaster = Forecaster(7, lstm=SMALL, training=TrainingConfig(epochs=5, learning_rate=1e-2))
    forecaster.fit(without_last(frame, 7))
    found = forecaster.evaluate(frame)
    assert found["mae"] < found["naive_mae"]
    assert found["mae"] < 0.11  # the noise is 0.08 on average
    assert forecaster.score(frame) == 1 - found["mae"] / found["naive_mae"]
    assert 0.5 < found["coverage_80"] <= found["coverage_90"]


def test_a_forecast_goes_on_from_the_frame_that_is_given(fitted: Forecaster) -> None:
    frame = waves()
    expected = fitted.predict()
    assert expected.equals(fitted.predict(frame))
    assert expected.equals(fitted.predict(last_steps(frame, 14)))
    assert not expected["LSTM"].equals(fitted.predict(without_last(frame, 1))["LSTM"])
    # Series that training never saw, on a level of their own, and of fewer steps than are read.
    others = waves(1, seed=3).assign(unique_id="new", y=lambda frame: frame["y"] + 1000)
    found = fitted.predict(others)
    assert found["unique_id"].tolist() == ["new"] * 5
    assert (abs(found["LSTM"] - 1010) < 5).all()
    assert (abs(fitted.predict(others[:3])["LSTM"] - 1010) < 5).all()


def test_a_forecast_depends_on_no_other_series(fitted: Forecaster) -> None:
    frame = waves(300)
    together = fitted.predict(frame).groupby("unique_id", sort=False)["LSTM"].first()
    alone = fitted.predict(frame[frame["unique_id"] == "shop 280"])["LSTM"]
    assert together.loc["shop 280"] == pytest.approx(alone[0], rel=1e-6)


@pytest.mark.parametrize(
    ("shape", "found"), [((60,), (5,)), ((60, 2), (5, 2)), ((4, 60, 2), (4, 5, 2))]
)
def test_arrays(shape: tuple[int, ...], found: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).normal(size=shape).cumsum(axis=-1 if len(shape) == 1 else -2)
    forecaster = small().fit(array)
    assert forecaster.predict().shape == found
    assert forecaster.predict(array[..., -30:] if len(shape) == 1 else array).shape == found
    intervals = forecaster.predict(level=[50])
    assert list(intervals) == ["LSTM", "LSTM-lo-50", "LSTM-hi-50"]
    assert np.array_equal(intervals["LSTM"], forecaster.predict())
    assert forecaster.evaluate(array)["mae"] > 0
    table = forecaster.cross_validation(array, windows=2)
    assert len(table) == 2 * np.prod(found) / (shape[-1] if len(shape) > 1 else 1)


def test_several_targets(tmp_path: Path) -> None:
    columns = SeriesColumns(targets=("y", "other"))
    alone = small(columns=columns).fit(waves())
    together = small(columns=columns, joint=True).fit(waves())
    found = alone.predict(level=[80])
    names = [f"{name}-LSTM{end}" for name in ("y", "other") for end in ("", "-lo-80", "-hi-80")]
    assert found.columns.tolist() == ["unique_id", "ds", *names]
    changed = waves().assign(other=lambda frame: frame["other"] ** 2)
    # Each by itself, or all read together.
    assert found["y-LSTM"].equals(alone.predict(changed)["y-LSTM"])
    assert not together.predict()["y-LSTM"].equals(together.predict(changed)["y-LSTM"])


def test_covariates_are_read(with_covariates: Forecaster) -> None:
    frame = waves(days=65)
    past, ahead = without_last(frame, 5), last_steps(frame, 5)[["unique_id", "ds", "sale"]]
    expected = with_covariates.predict(past, future=ahead)
    ahead_only = ahead.assign(sale=1 - ahead["sale"])
    for changed, future in (
        (past.assign(weather=past["weather"] + 1), ahead),
        (past.assign(sale=1 - past["sale"]), ahead),
        (past.assign(size=past["size"] + 1), ahead),
        (past.assign(kind="big"), ahead),
        (past, ahead_only),
    ):
        assert not expected["LSTM"].equals(with_covariates.predict(changed, future=future)["LSTM"])
    static = past.drop_duplicates("unique_id")[["unique_id", "kind", "size"]]
    past = past.drop(columns=["kind", "size"])
    assert expected.equals(with_covariates.predict(past, future=ahead, static=static))
    network = with_covariates.network_
    assert network.config.static_categories == (3,)
    embedding = network.static.embeddings[0].weight
    assert (embedding[0] == 0).all()  # an unknown kind
    assert (embedding[1:] != 0).all()


def test_covariates_are_standardised_by_the_training_part(with_covariates: Forecaster) -> None:
    frame = waves()
    train = without_last(frame, 6)  # a tenth of 60 steps is held out
    network = with_covariates.network_
    of = {"weather": network.standardise_past, "sale": network.standardise_future}
    for name, found in of.items():
        assert float(found.mean[0]) == pytest.approx(train[name].mean(), abs=1e-6)
        assert float(found.std[0]) == pytest.approx(train[name].std(ddof=0), rel=1e-6)
    # The weekday and the month's day follow: sine and cosine of each.
    assert network.config.future_covariates == 1 + 2 * len(with_covariates.recipe_.calendar)


@pytest.mark.parametrize("decoder", ["direct", "autoregressive"])
@pytest.mark.parametrize(
    "output", ["quantile", "point", "normal", "student_t", "negative_binomial"]
)
def test_every_output(output: Any, decoder: Any) -> None:
    frame = waves().assign(y=lambda frame: frame["y"].round())
    training = dataclasses.replace(SHORT, epochs=1)
    forecaster = small(3, output=output, decoder=decoder, training=training).fit(frame)
    found = forecaster.predict(frame, level=None if output == "point" else [80])
    assert np.isfinite(found["LSTM"]).all()
    if output != "point":
        assert (found["LSTM-lo-80"] < found["LSTM-hi-80"]).all()
    figures = forecaster.evaluate(frame)
    assert ("crps" in figures) == (output != "point")
    assert forecaster.network_.config.output.kind == output


def test_the_best_epoch_is_chosen_by_the_end_of_each_series() -> None:
    frame = waves()
    rows = frame.groupby("unique_id").cumcount()
    broken = frame.assign(y=frame["y"].where(rows < 48, 0.0))  # 12 of 60 steps
    records = [
        small(validation=validation).fit(data).history_.records
        for data in (frame, broken)
        for validation in (12, 0.2)
    ]
    losses = [[record["train_loss"] for record in found] for found in records]
    # What is held out is not trained on, but measured.
    assert losses[0] == losses[1] == losses[2] == losses[3]
    validation = [[record["validation_loss"] for record in found] for found in records]
    assert validation[0] == validation[1] != validation[2] == validation[3]
    last = small(validation=0).fit(frame).history_
    assert last.best_value is None
    assert last.best_epoch == 2
    # At least the horizon.
    assert small(validation=1).fit(frame).history_.best_value is not None


def test_the_constructor_only_stores() -> None:
    given: dict[str, Any] = {"horizon": -3, "columns": object(), "fill": "?", "validation": "x"}
    forecaster = Forecaster(**given)
    assert {name: forecaster.get_params()[name] for name in given} == given
    fitted = small().fit(waves())
    fresh = clone(fitted)
    assert not hasattr(fresh, "network_")
    assert fresh.fit(waves()).predict().equals(fitted.predict())
    torch.manual_seed(3)
    state = torch.get_rng_state()
    small().fit(waves())
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("library", list(LIBRARIES))
def test_saved_and_loaded(library: str, tmp_path: Path, with_covariates: Forecaster) -> None:
    frame = LIBRARIES[library](waves())
    forecaster = small(columns=COLUMNS).fit(frame)
    forecaster.save(tmp_path / "model")
    loaded = Forecaster.load(tmp_path / "model")
    assert {path.name for path in (tmp_path / "model").iterdir()} == {
        "calibration.json", "config.json", "model.safetensors", "series.safetensors"
    }  # fmt: skip
    ahead = LIBRARIES[library](last_steps(waves(days=65), 5)[["unique_id", "ds", "sale"]])
    found = loaded.predict(level=[80], future=ahead)
    assert type(found) is type(frame)
    assert found.equals(forecaster.predict(level=[80], future=ahead))
    assert loaded.evaluate(frame, standardised=True) == forecaster.evaluate(
        frame, standardised=True
    )
    assert loaded.get_params() == forecaster.get_params()


def test_series_of_integers_months_and_zones_are_loaded(tmp_path: Path) -> None:
    steps = np.arange(63)  # so that what is kept would begin in a February
    times = {
        "integers": steps * 3,
        "month ends": pd.date_range("2000-01-31", periods=63, freq="ME"),
        # The 30th, and in February the last: what is kept must begin with the 30th.
        "days of 30": pd.DatetimeIndex(
            [pd.Timestamp("2000-01-30") + pd.DateOffset(months=month) for month in range(63)]
        ),
        "zone": pd.date_range("2024-01-01", periods=63, freq="h", tz="Europe/Berlin"),
    }
    for name, stamps in times.items():
        frame = pd.DataFrame({"unique_id": 7, "ds": stamps, "y": np.sin(steps)})
        forecaster = small().fit(frame)
        forecaster.save(tmp_path / name)
        loaded = Forecaster.load(tmp_path / name)
        found, expected = loaded.predict(), forecaster.predict(frame)
        assert found.equals(expected), name
        assert found["ds"].dtype == frame["ds"].dtype


def test_a_run_folder_holds_the_forecaster(tmp_path: Path) -> None:
    forecaster = small().fit(waves(), output=tmp_path / "run")
    loaded = Forecaster.load(tmp_path / "run")
    assert loaded.predict().equals(forecaster.predict())
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["estimator"] == "Forecaster"
    assert config["network"]["window"] == 14


def test_an_interrupted_run_goes_on(tmp_path: Path) -> None:
    training = TrainingConfig(epochs=3, batch_size=128, checkpoint_seconds=0.0)
    expected = small(training=training).fit(waves())

    def stop(event: Any) -> None:
        if isinstance(event, EpochDone) and event.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises((KeyboardInterrupt, Interrupted)):
        small(training=training).fit(waves(), output=tmp_path / "run", on_event=stop)
    resumed = small(training=training).fit(waves(), output=tmp_path / "run", resume=True)
    assert resumed.predict().equals(expected.predict())


def test_a_damaged_folder_is_refused(tmp_path: Path, fitted: Forecaster) -> None:
    fitted.save(tmp_path / "model")
    path = tmp_path / "model" / "series.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[:-9])
    with pytest.raises(RunFolderError, match=r"series\.safetensors is damaged: "):
        Forecaster.load(tmp_path / "model")
    path.unlink()
    with pytest.raises(RunFolderError, match="does not exist: expected the series of a forecaster"):
        Forecaster.load(tmp_path / "model")


def test_a_forecast_takes_no_more_than_it_must(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stamps = pd.date_range("2024-01-01", periods=1000, freq="h")
    values = np.random.default_rng(0).normal(size=1000)
    frame = pd.DataFrame({"unique_id": "a", "ds": stamps, "y": values})
    small(24, input_chunk=48).fit(frame).save(tmp_path / "model")
    loaded = Forecaster.load(tmp_path / "model")
    done: list[Any] = []

    def count(module: Any, name: str, note: Callable[..., Any]) -> None:
        original = getattr(module, name)

        def counted(*arguments: Any, **named: Any) -> Any:
            done.append((name, note(*arguments)))
            return original(*arguments, **named)

        monkeypatch.setattr(module, name, counted)

    count(loaded.network_, "forward", lambda past, *_: tuple(past.shape))
    count(series_estimator, "read_series", lambda frame, *_: len(frame))
    count(series, "calendar_features", lambda stamps, _: stamps.size)
    count(series_frames, "calendar_features", lambda stamps, _: stamps.size)
    loaded.predict(level=[80, 90])
    # The features of the window and of the horizon, and of no other step; the network once.
    once = [("calendar_features", 24), ("calendar_features", 48), ("forward", (1, 48, 1))]
    assert done == once
    done.clear()
    loaded.predict(frame, level=[80, 90])
    # The frame is read once; of its calendar, the first stamp is looked at to check the names.
    assert done == [("read_series", 1000), ("calendar_features", 1), *once]


def test_the_network_is_a_plain_module(fitted: Forecaster) -> None:
    assert isinstance(fitted.network_, ForecastNetwork)
    assert isinstance(fitted.network_, torch.nn.Module)


def test_the_map_of_the_window_begins_as_the_mean_of_the_seasons() -> None:
    weight = seasonal_mean(7, 4, 3)  # the window's first step is of no whole season
    assert torch.equal(weight @ torch.arange(7.0), torch.tensor([2.5, 3.5, 4.5, 2.5]))
    none = TrainingConfig(epochs=1, learning_rate=1e-12, device="cpu")
    weeks = small(training=none).fit(waves()).network_.skip.weight
    assert torch.allclose(weeks, seasonal_mean(14, 5, 7), atol=1e-6)
    walk = np.random.default_rng(0).normal(size=300).cumsum()
    for forecaster in (
        small(training=none, season_length=7),
        small(training=none, season_length=20),
        small(training=none),
    ):
        assert forecaster.fit(walk).network_.skip.weight.abs().max() < 1e-6
