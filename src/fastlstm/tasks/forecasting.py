"""Forecasting: the windows and the loss that a network is trained with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from fastlstm.data import SeriesSet, WindowBatch, Windows, latest_windows
from fastlstm.models import Forecast, ForecastNetwork
from fastlstm.models.windows import window_units
from fastlstm.training import Loss, Metric, RunningSums, Sum

PREDICTION_BATCH = 256
"""How many windows are forecast at once."""

SEASON_WINDOWS, SEASON_BATCH = 512, 32
"""How many windows are looked at to see whether there are seasons, and how many at once."""


class ForecastBatch(NamedTuple):
    """Some windows, as a network reads them, and what is to be forecast."""

    inputs: tuple[Tensor | None, ...]  # the arguments of `ForecastNetwork.forward`
    target: Tensor  # (B, H, C)
    unit: Tensor  # (B, 1, C): what errors are measured in


def network_inputs(batch: WindowBatch) -> tuple[Tensor | None, ...]:
    """The arguments of a network; steps before a series begins are missing."""
    steps = torch.arange(batch.past.shape[1])
    before = steps < (batch.past.shape[1] - batch.observed).unsqueeze(1)
    past = torch.where(before.unsqueeze(-1), torch.nan, batch.past)
    others = (
        batch.past_covariates,
        batch.future_covariates,
        batch.static_numbers,
        batch.static_categories,
    )
    return (past, *(part if part.shape[-1] else None for part in others))


class ForecastExamples:
    """Windows as the training loop takes them.

    Args:
        windows: all there are.
        units: (N, C) what errors of each series are measured in, float32.
        count: how many examples there are; of more windows, as many are drawn at random, once; of
            fewer, all are repeated. None: as many as windows.
        targets: of more targets as many are drawn for each batch, by the numbers of its examples:
            others in each epoch, as its batches are others, and the same again in a run that is
            resumed. None: all.
    """

    lengths = None

    def __init__(
        self,
        windows: Windows,
        units: np.ndarray,
        count: int | None = None,
        targets: int | None = None,
    ) -> None:
        self.windows = windows
        self.targets = targets
        self.units = torch.from_numpy(units)
        order = np.random.default_rng(0).permutation(len(windows))
        self.indices = np.resize(order, len(windows) if count is None else count)

    def __len__(self) -> int:
        return len(self.indices)

    def batch(self, indices: Sequence[int]) -> ForecastBatch:
        """Some of the windows, of some of the targets."""
        count = self.units.shape[1]
        if self.targets is None or self.targets >= count:
            return self.whole(indices)
        drawn = np.random.default_rng(np.asarray(indices)).choice(
            count, self.targets, replace=False
        )
        return self._gather(indices, np.sort(drawn))

    def whole(self, indices: Sequence[int]) -> ForecastBatch:
        """Some of the windows, of all targets."""
        return self._gather(indices, np.arange(self.units.shape[1]))

    def _gather(self, indices: Sequence[int], targets: np.ndarray) -> ForecastBatch:
        names = self.windows.series.columns.targets
        batch = self.windows.batch(
            self.indices[np.asarray(indices)], [names[number] for number in targets]
        )
        unit = self.units[batch.series][:, targets].unsqueeze(1)
        return ForecastBatch(network_inputs(batch), batch.target, unit)


def seasonal_mean(window: int, horizon: int, season: int) -> Tensor:
    """The map (H, W) from a window to the mean of its seasons, as many as are whole."""
    seasons = window // season
    weight = torch.zeros(horizon, window)
    for back in range(1, seasons + 1):
        places = window - back * season + torch.arange(horizon) % season
        weight[torch.arange(horizon), places] = 1 / seasons
    return weight


def begin_with_seasons(network: ForecastNetwork, examples: ForecastExamples, season: int) -> None:
    """Let the linear map of a network begin as the mean of the seasons where that says something.

    It does where what it leaves to be learned varies less from window to window than without it. So
    few windows need not teach what a season is. Else the map stays at zero.

    Args:
        network: whose map begins anew.
        examples: the training windows.
        season: how many steps a season has.
    """
    config = network.config
    counts = config.output.kind == "negative_binomial"
    if network.skip is None or season == 1 or config.window < season or counts:
        return
    weight = seasonal_mean(config.window, config.horizon, season)
    withouts, lefts = [], []
    count = min(len(examples), SEASON_WINDOWS)
    for first in range(0, count, SEASON_BATCH):
        batch = examples.whole(range(first, min(first + SEASON_BATCH, count)))
        past = batch.inputs[0]
        assert past is not None
        location, scale = window_units(config.normalization, past)
        values = ((past - location) / scale).nan_to_num()
        withouts.append((batch.target - location) / batch.unit)
        lefts.append(withouts[-1] - weight @ values * (scale / batch.unit))
    # A mean that is off by as much at each window, as in a series that grows, is soon learned.
    if torch.cat(lefts).var(0).sum() < torch.cat(withouts).var(0).sum():
        with torch.no_grad():
            network.skip.weight.copy_(weight)


class ForecastObjective:
    """The loss of the network's output, in units of each series.

    Args:
        network: what is trained.
    """

    metric = Metric("loss", higher_is_better=False)

    def __init__(self, network: ForecastNetwork) -> None:
        self.network = network

    def loss(self, batch: ForecastBatch, state: Any) -> Loss:
        """The sum over the values to forecast, and how many there are."""
        forecast: Forecast = self.network(*batch.inputs)
        total, weight = self.network.output.loss(forecast, batch.target, unit=batch.unit)
        return Loss(total, weight)

    def evaluate(self, batches: Iterable[ForecastBatch]) -> dict[str, Sum]:
        """The loss, and the absolute error in units of each series."""
        sums = RunningSums("loss", "mae", "count")
        for batch in batches:
            forecast = self.network(*batch.inputs)
            total, weight = self.network.output.loss(forecast, batch.target, unit=batch.unit)
            centre = self.network.output.centre(forecast)
            sums.add("loss", total)
            sums.add("mae", ((centre - batch.target) / batch.unit).abs().nansum())
            sums.add("count", weight)
        read = sums.read()
        return {name: Sum(read[name], read["count"]) for name in ("loss", "mae")}


def latest_batches(
    series: SeriesSet, window: int, future: Mapping[str, np.ndarray], horizon: int
) -> Iterator[WindowBatch]:
    """What follows each series is forecast from: its last window, some series at a time."""
    whole = latest_windows(series, window, dict(future), horizon)
    for first in range(0, len(series), PREDICTION_BATCH):
        yield WindowBatch(*(part[first : first + PREDICTION_BATCH] for part in whole))
