"""Tables of many targets: some of them are drawn for each batch of an epoch."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from fastlstm.data import SeriesColumns, TimeRange, Windows, read_series, series_from_array
from fastlstm.models import ForecastNetwork, ForecastNetworkConfig, LSTMConfig, ModelError
from fastlstm.tasks import Forecaster, forecasting_recipe
from fastlstm.tasks.forecasting import ForecastExamples, begin_with_seasons, seasonal_mean
from fastlstm.tasks.forecasting_recipe import choose
from fastlstm.training import EpochDone, Interrupted, TrainingConfig
from forecasting_cases import small

EIGHT = tuple(f"y{number}" for number in range(8))
TWO_EPOCHS = TrainingConfig(epochs=2, batch_size=16, checkpoint_seconds=0.0, device="cpu")


@pytest.mark.parametrize(
    ("targets", "horizon", "joint", "drawn"),
    [
        (64, 20, False, 64),
        (207, 20, False, 64),
        (207, 20, True, 207),
        (20, 300, False, 20),
        (7, 2_000, False, 3),
        (1, 9_000, False, 1),
    ],
)
def test_an_epoch_costs_no_more_with_hundreds_of_targets(
    targets: int, horizon: int, joint: bool, drawn: int
) -> None:
    names = tuple(f"y{number}" for number in range(targets))
    frame = pd.DataFrame({"unique_id": 0, "ds": range(10_500), **dict.fromkeys(names, 1.0)})
    series = read_series(frame, SeriesColumns(targets=names))
    found = choose(series, TimeRange.whole(series), horizon, 1, 50, joint=joint)
    assert found.targets == drawn
    assert found.windows >= 1_024


def test_each_batch_has_some_of_the_targets() -> None:
    steps = np.arange(40.0)
    columns = [100 * number + steps for number in range(6)]
    series = series_from_array(np.stack(columns, 1)[None], EIGHT[:6])
    windows = Windows(series, 4, 2)
    units = np.arange(1, 7, dtype=np.float32)[None]
    examples = ForecastExamples(windows, units, targets=2)
    state = torch.get_rng_state()
    seen = set()
    for first in range(0, 32, 4):
        batch = examples.batch(range(first, first + 4))
        past = batch.inputs[0]
        assert past is not None
        assert past.shape == (4, 4, 2)
        assert batch.target.shape == (4, 2, 2)
        number = past // 100
        assert torch.equal(number, number[:1, :1].expand_as(number))
        assert torch.equal(batch.target // 100, number[:, :2])
        assert torch.equal(batch.unit, number[:, :1] + 1)
        assert number[0, 0, 0] != number[0, 0, 1]
        seen.add(tuple(number[0, 0].tolist()))
        assert torch.equal(batch.target, examples.batch(list(range(first, first + 4))).target)
    assert len(seen) > 4  # of 15 pairs
    assert {number for pair in seen for number in pair} == set(range(6))
    assert torch.equal(state, torch.get_rng_state())
    assert examples.whole(range(3)).target.shape == (3, 2, 6)
    assert ForecastExamples(windows, units, targets=6).batch(range(3)).target.shape == (3, 2, 6)


def test_seasons_are_looked_for_in_all_targets() -> None:
    config = ForecastNetworkConfig(14, 2, 6, lstm=LSTMConfig(hidden_size=5), joint=False)
    network = ForecastNetwork(config)
    # Only the last target has a season, which is so great that it decides.
    values = np.random.default_rng(0).normal(size=(60, 6)).cumsum(axis=0)
    values[:, 5] = 1000 * np.sin(2 * np.pi * np.arange(60) / 7)
    windows = Windows(series_from_array(values[None], EIGHT[:6]), 14, 2)
    examples = ForecastExamples(windows, np.ones((1, 6), dtype=np.float32), targets=1)
    begin_with_seasons(network, examples, 7)
    assert network.skip is not None
    assert torch.equal(network.skip.weight, seasonal_mean(14, 2, 7))


def test_a_network_reads_some_of_its_channels() -> None:
    config = ForecastNetworkConfig(6, 3, 4, lstm=LSTMConfig(hidden_size=5), joint=False)
    network = ForecastNetwork(config).eval()
    past = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(0))
    whole, some = network(past), network(past[..., [1, 3]])
    for found, expected in zip(some, whole, strict=True):
        picked = expected[:, :, [1, 3]] if expected.dim() == 4 else expected[..., [1, 3]]
        torch.testing.assert_close(found, picked)
    for wrong, channels in ((5, 4), (0, 1)):
        with pytest.raises(ModelError) as error:
            network(torch.zeros(2, 6, wrong))
        assert str(error.value) == (
            f"past must have the shape [2, 6, {channels}], got [2, 6, {wrong}]"
        )


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if 8 targets were many: an epoch has 64 windows of two."""
    monkeypatch.setattr(forecasting_recipe, "LEAST_WINDOWS", 64)
    monkeypatch.setattr(forecasting_recipe, "MOST_ROWS", 128)


def eight_waves() -> pd.DataFrame:
    generator = np.random.default_rng(0)
    steps = np.arange(120)
    waves = {name: np.sin(steps / 3 + number) for number, name in enumerate(EIGHT)}
    noise = 0.1 * generator.normal(size=(120, 8))
    return pd.DataFrame({"unique_id": 0, "ds": steps, **waves}).assign(
        **{name: waves[name] + noise[:, number] for number, name in enumerate(EIGHT)}
    )


def forecaster(**given: Any) -> Forecaster:
    columns = SeriesColumns(targets=EIGHT)
    return small(4, columns=columns, validation=40, training=TWO_EPOCHS, **given)


@pytest.mark.usefixtures("few")
def test_an_epoch_draws_targets_and_measures_all(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes: dict[bool, list[torch.Size]] = {True: [], False: []}
    forward = ForecastNetwork.forward

    def counted(self: ForecastNetwork, past: torch.Tensor, *others: Any) -> Any:
        shapes[self.training].append(past.shape)
        return forward(self, past, *others)

    monkeypatch.setattr(ForecastNetwork, "forward", counted)
    found = forecaster().fit(eight_waves())
    assert found.recipe_.targets == 2
    assert shapes[True] == [(16, 14, 2)] * 8  # two epochs of 64 windows
    # 16 windows of eight targets are as much; measured in each epoch, and to calibrate.
    assert shapes[False] == [(16, 14, 8)] * 3
    assert found.predict().shape == (4, 2 + 8)
    shapes[True].clear()
    forecaster(joint=True).fit(eight_waves())
    assert {shape[2] for shape in shapes[True]} == {8}


@pytest.mark.usefixtures("few")
def test_a_resumed_run_draws_the_same_targets(tmp_path: Path) -> None:
    expected = forecaster().fit(eight_waves())
    again = forecaster().fit(eight_waves())
    assert again.predict().equals(expected.predict())

    def stop(event: Any) -> None:
        if isinstance(event, EpochDone):
            raise KeyboardInterrupt

    with pytest.raises((KeyboardInterrupt, Interrupted)):
        forecaster().fit(eight_waves(), output=tmp_path / "run", on_event=stop)
    resumed = forecaster().fit(eight_waves(), output=tmp_path / "run", resume=True)
    assert resumed.predict(level=[80]).equals(expected.predict(level=[80]))
