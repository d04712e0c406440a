"""The intervals of `Forecaster` are moved by what its validation windows show."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fastlstm.data import TimeRange, Windows
from fastlstm.models import Forecast, ModelError, QuantileOutput
from fastlstm.tasks import Forecaster
from fastlstm.tasks.forecasting_scores import forecast_windows
from fastlstm.training import EpochDone, Interrupted, RunFolderError, TrainingConfig
from forecasting_cases import noisy_end, small, waves, without_last

HORIZON = 5
LEVELS = (0.1, 0.25, 0.5, 0.75, 0.9)
SLOW = TrainingConfig(epochs=3, batch_size=128, checkpoint_seconds=0.0)


@pytest.fixture(scope="module")
def fitted() -> Forecaster:
    """Its validation windows are the first half of the noisy steps."""
    return small(levels=LEVELS, validation=10).fit(without_last(noisy_end(), 10))


def offsets_of(forecaster: Forecaster) -> Any:
    return forecaster.network_.output.offsets


def as_learned(forecaster: Forecaster) -> Forecaster:
    """The same without its offsets."""
    network = forecaster.network_.__class__(forecaster.network_.config)
    network.load_state_dict(forecaster.network_.state_dict())
    learned = small(**{**forecaster.get_params(deep=False)})
    learned.__dict__.update({**forecaster.__dict__, "network_": network})
    return learned


def test_quantiles_move_and_nothing_else_does() -> None:
    output = QuantileOutput(LEVELS)
    raw = torch.tensor([2.0, 0.0, 1.0, 0.0, 1.0]).expand(1, 1, 1, 5)
    forecast = Forecast(raw, torch.full((1, 1, 1), 10.0), torch.full((1, 1, 1), 3.0))
    target = torch.full((1, 1, 1), 11.0)
    before = [output.centre(forecast), output.mean(forecast), output.loss(forecast, target).total]
    learned = output.quantile(forecast, LEVELS)
    output.calibrate([-0.5, -0.25, 0.0, 0.125, 1.0])
    moved = output.quantile(forecast, LEVELS)
    expected = 3 * torch.tensor([-0.5, -0.25, 0.0, 0.125, 1.0])
    torch.testing.assert_close((moved - learned).flatten(), expected)
    between = output.quantile(forecast, [0.825])
    torch.testing.assert_close(between[..., 0], (moved[..., 3] + moved[..., 4]) / 2)
    after = [output.centre(forecast), output.mean(forecast), output.loss(forecast, target).total]
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))
    drawn = output.sample(forecast, 1000, torch.Generator().manual_seed(0))
    assert drawn.max() == moved.max()
    assert drawn.min() == moved.min()


def test_a_quantile_that_would_cross_its_neighbour_meets_it() -> None:
    output = QuantileOutput(LEVELS)
    forecast = Forecast(torch.zeros(1, 1, 1, 5), torch.zeros(1, 1, 1), torch.ones(1, 1, 1))
    output.calibrate([0.0, -2.0, 0.0, 3.0, 0.5])
    step = float(np.log(2))
    found = output.quantile(forecast, LEVELS).flatten().tolist()
    assert found == pytest.approx([-2 - step, -2 - step, 0, 3 + step, 3 + step])
    lower = QuantileOutput((0.1, 0.2))
    lower.calibrate([0.0, -3.0])
    assert lower.quantile(
        Forecast(torch.zeros(1, 1, 1, 2), *forecast[1:]), [0.1, 0.2]
    ).tolist() == [[[[-3.0, -3.0]]]]


@pytest.mark.parametrize(
    ("offsets", "message"),
    [
        ([0.0], "offsets must have one for each of 5 levels, got 1"),
        ([0.1, 0, 0, 0, 0], "the offset of level 0.1 must lead away from the median, got 0.1"),
        ([0, 0, 0.1, 0, 0], "the offset of level 0.5 must lead away from the median, got 0.1"),
        ([0, 0, 0, -2, 0], "the offset of level 0.75 must lead away from the median, got -2"),
        (
            [0, 0, 0, 0, float("nan")],
            "the offset of level 0.9 must lead away from the median, got nan",
        ),
    ],
)
def test_offsets_that_do_not_fit(offsets: list[float], message: str) -> None:
    with pytest.raises(ModelError) as error:
        QuantileOutput(LEVELS).calibrate(offsets)
    assert str(error.value) == message


def test_the_offsets_are_those_of_the_validation_windows(fitted: Forecaster) -> None:
    learned = as_learned(fitted)
    series, _ = learned._read(without_last(noisy_end(), 10), None)
    held_out = TimeRange.whole(series).split_last(10)[1]
    windows = Windows(series, 14, HORIZON, held_out)
    ends, targets = [], []
    for forecast, target, _, _ in forecast_windows(learned.network_, windows):
        ends.append(learned.network_.output.values(forecast.raw).numpy())
        targets.append((target - forecast.location.numpy()) / forecast.scale.numpy())
    values, target = np.concatenate(ends), np.concatenate(targets)
    distances = []
    for low, high, share in ((0, 4, 0.8), (1, 3, 0.5)):
        missed = np.maximum(values[..., low] - target, target - values[..., high])
        # 3 series of 6 windows, which are two end to end.
        distances.append(np.quantile(missed, share) * 6 / 7)
    assert min(distances) > 0
    wide, narrow = distances
    assert offsets_of(fitted) == pytest.approx([-wide, -narrow, 0, narrow, wide], rel=1e-4)
    assert 1 / offsets_of(fitted)[4] > 0


def test_intervals_hold_more_of_what_they_missed(fitted: Forecaster) -> None:
    learned = as_learned(fitted).evaluate(noisy_end(), steps=10)
    found = fitted.evaluate(noisy_end(), steps=10)
    assert learned["coverage_80"] < 0.5
    assert 0.65 < found["coverage_80"] < 0.9
    assert found["crps"] < learned["crps"]
    for name in ("mae", "mse", "rmse", "smape", "mase"):
        assert found[name] == learned[name]
    points, intervals = fitted.predict(), fitted.predict(level=[50, 80])
    assert points["LSTM"].equals(as_learned(fitted).predict()["LSTM"])
    order = intervals[["LSTM-lo-80", "LSTM-lo-50", "LSTM", "LSTM-hi-50", "LSTM-hi-80"]].to_numpy()
    assert (np.diff(order, axis=1) >= 0).all()


def test_levels_without_a_mirror_are_moved_alone() -> None:
    frame = without_last(noisy_end(3), 10)
    found = offsets_of(small(levels=(0.2, 0.5, 0.9), validation=10).fit(frame))
    assert found[0] < 0 == found[1] < found[2] != -found[0]


def test_intervals_are_not_narrowed() -> None:
    frame = noisy_end(steps=60)
    is_last = frame.groupby("unique_id").cumcount(ascending=False) < 10
    calm = frame.assign(y=frame["y"].where(~is_last, waves()["y"]))
    assert offsets_of(small(validation=10).fit(calm)) == (0.0,) * 9


def test_nothing_is_calibrated_without_validation_or_quantiles(tmp_path: Path) -> None:
    assert offsets_of(small(validation=0).fit(noisy_end(), output=tmp_path / "all")) is None
    once = dataclasses.replace(SLOW, epochs=1)
    small(output="normal", training=once).fit(noisy_end(), output=tmp_path / "normal")
    for name in ("all", "normal"):
        assert not (tmp_path / name / "calibration.json").exists()
        Forecaster.load(tmp_path / name).predict(level=[80])


def test_offsets_are_saved_and_loaded(tmp_path: Path, fitted: Forecaster) -> None:
    fitted.save(tmp_path / "model")
    path = tmp_path / "model" / "calibration.json"
    expected = fitted.predict(level=[80])
    assert Forecaster.load(tmp_path / "model").predict(level=[80]).equals(expected)
    content = json.loads(path.read_text())
    assert content == {"levels": list(LEVELS), "offsets": list(offsets_of(fitted))}
    for broken, message in (
        (content | {"levels": [0.5]}, "does not fit the network: it is for other levels"),
        (content | {"offsets": [0.1]}, "is damaged: offsets must have one for each of 5 levels"),
        ({"levels": list(LEVELS)}, "is damaged: 'offsets'"),
        (content | {"offsets": ["a"] * 5}, "is damaged: "),
    ):
        path.write_text(json.dumps(broken))
        with pytest.raises(RunFolderError, match=f"calibration.json {message}"):
            Forecaster.load(tmp_path / "model")
    # A model that was saved before there were offsets.
    path.unlink()
    loaded = Forecaster.load(tmp_path / "model")
    assert offsets_of(loaded) is None
    assert loaded.predict(level=[80]).equals(as_learned(fitted).predict(level=[80]))


def test_a_resumed_run_has_the_same_offsets(tmp_path: Path) -> None:
    expected = small(training=SLOW).fit(noisy_end(), output=tmp_path / "whole")

    def stop(event: Any) -> None:
        if isinstance(event, EpochDone) and event.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises((KeyboardInterrupt, Interrupted)):
        small(training=SLOW).fit(noisy_end(), output=tmp_path / "run", on_event=stop)
    assert offsets_of(Forecaster.load(tmp_path / "run")) is None
    for _ in range(2):  # also where nothing is left to be trained
        small(training=SLOW).fit(noisy_end(), output=tmp_path / "run", resume=True)
        resumed = Forecaster.load(tmp_path / "run")
        assert offsets_of(resumed) == offsets_of(expected) != (0.0,) * 9
        assert resumed.predict(level=[80]).equals(expected.predict(level=[80]))
