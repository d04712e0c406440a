"""How good forecasts are, beside the seasonal naive one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from fastlstm.data import SeriesSet, TimeRange, Windows
from fastlstm.models import Forecast, ForecastNetwork
from fastlstm.tasks.forecasting import network_inputs
from fastlstm.tasks.placing import beside

BATCH_VALUES = 200_000
"""How many values are forecast at once, about."""

LEVELS = (80, 90)
"""The intervals, in percent, whose coverage is measured."""

CRPS_LEVELS = tuple(round(0.1 * step, 1) for step in range(1, 10))
"""The quantiles whose loss is averaged: evenly spaced, so that it is about the CRPS."""


class Measured(NamedTuple):
    """Some windows: what was forecast, what happened, and where they stand."""

    forecast: Forecast  # on the CPU
    target: np.ndarray  # (B, H, C)
    series: np.ndarray  # (B,)
    origin: np.ndarray  # (B,), the row of the first step


@dataclass(frozen=True)
class ForecastScores:
    """The errors of forecasts.

    Args:
        figures: each measure by its name, and `naive_…` of the seasonal naive forecast.
        by_step: `(H,)`, the mean absolute error at each step ahead.
        naive_by_step: `(H,)`, that of the seasonal naive forecast.
        windows: how many forecasts were measured.
    """

    figures: dict[str, float]
    by_step: np.ndarray
    naive_by_step: np.ndarray
    windows: int


def seasonal_naive(
    series: SeriesSet, number: np.ndarray, origin: np.ndarray, horizon: int, season: int
) -> np.ndarray:
    """The values one season before, again and again: `(B, horizon, C)`.

    Args:
        series: what is forecast.
        number: `(B,)`, the series of each forecast.
        origin: `(B,)`, the rows of their first steps.
        horizon: how many steps.
        season: how many steps a season has; where the series has fewer, the last value is repeated.
    """
    start = series.offsets[number]
    length = np.where(origin - start >= season, season, 1)[:, None]
    rows = origin[:, None] - length + np.arange(horizon) % length
    return np.stack([series.values[name][rows] for name in series.columns.targets], axis=-1)


def naive_scale(series: SeriesSet, before: TimeRange, season: int) -> np.ndarray:
    """What MASE divides by (Hyndman & Koehler 2006): `(N, C)`, NaN where there is nothing.

    The mean absolute error of the seasonal naive forecast of one season ahead, or of one step in
    series of at most one season, over the steps before those that are measured.
    """
    scale = np.full((len(series), len(series.columns.targets)), np.nan)
    for index, (start, stop) in enumerate(zip(before.start, before.stop, strict=True)):
        lag = season if stop - start > season else 1
        for channel, name in enumerate(series.columns.targets):
            values = series.values[name][start:stop].astype(np.float64)
            error = np.abs(values[lag:] - values[:-lag])
            if error.size and error.mean() > 0:
                scale[index, channel] = error.mean()
    return scale


def forecast_windows(network: ForecastNetwork, windows: Windows) -> Iterator[Measured]:
    """Forecast all windows, some at a time."""
    channels = len(windows.series.columns.targets)
    size = max(1, BATCH_VALUES // (channels * (windows.horizon + windows.input_chunk)))
    network.eval()
    with torch.inference_mode():
        for first in range(0, len(windows), size):
            indices = np.arange(first, min(first + size, len(windows)))
            batch = windows.batch(indices)
            number, origin = windows.origins(indices)
            found = network(*beside(network, network_inputs(batch)))
            forecast = Forecast(*(part.cpu() for part in found))
            yield Measured(forecast, batch.target.numpy(), number, origin)


def measure(
    network: ForecastNetwork,
    windows: Windows,
    before: TimeRange,
    season: int,
    unit: np.ndarray | None = None,
) -> ForecastScores:
    """Measure the forecasts of windows.

    Args:
        network: forecasts them.
        windows: with what then happened.
        before: the steps before those that are measured: what MASE is scaled by.
        season: how many steps a season has.
        unit: (C), what errors are measured in, all but sMAPE and MASE; None: the data's own.
    """
    series = windows.series
    scale = naive_scale(series, before, season)
    unit = np.ones(scale.shape[1]) if unit is None else unit
    output = network.output
    kind, levels = network.config.output.kind, network.config.output.levels
    known = {"point": (1.0, 0.0), "quantile": (levels[0], levels[-1])}.get(kind, (0.0, 1.0))
    sums, naive, spread = _Sums(), _Sums(), _Intervals(known)
    for forecast, target, number, origin in forecast_windows(network, windows):
        target = target.astype(np.float64)
        centre = output.centre(forecast).double().numpy()
        sums.add(centre, target, scale[number], unit)
        repeated = seasonal_naive(series, number, origin, windows.horizon, season)
        naive.add(repeated.astype(np.float64), target, scale[number], unit)
        spread.add(network, forecast, target, unit)
    figures = {**sums.figures(), **spread.figures()}
    figures |= {f"naive_{name}": value for name, value in naive.figures().items()}
    return ForecastScores(figures, sums.by_step(), naive.by_step(), len(windows))


class _Sums:
    """The errors of one number for each value, added up over windows."""

    def __init__(self) -> None:
        self.absolute: np.ndarray | float = 0.0  # (H,)
        self.square = self.relative = self.scaled = 0.0
        self.windows = self.channels = self.comparable = 0

    def add(
        self, found: np.ndarray, target: np.ndarray, scale: np.ndarray, unit: np.ndarray
    ) -> None:
        error = np.abs(found - target)
        size = np.abs(found) + np.abs(target)
        # Two zeros are no error.
        self.relative += float(np.divide(2 * error, size, where=size > 0, out=0 * size).sum())
        scaled = error / scale[:, None]
        self.comparable += int(np.isfinite(scaled).sum())
        self.scaled += float(np.nansum(scaled))
        error = error / unit
        self.absolute = self.absolute + error.mean(axis=2).sum(axis=0)
        self.square += float((error**2).mean(axis=2).sum(axis=0).mean())
        self.windows += len(target)
        self.channels = target.shape[2]

    def by_step(self) -> np.ndarray:
        """The mean absolute error at each step ahead (H,)."""
        return np.asarray(self.absolute) / self.windows

    def figures(self) -> dict[str, float]:
        by_step = self.by_step()
        mse = self.square / self.windows
        values = self.windows * self.channels * len(by_step)
        return {
            "mae": float(by_step.mean()),
            "mse": mse,
            "rmse": mse**0.5,
            "smape": 100 * self.relative / values,
            "mase": self.scaled / self.comparable if self.comparable else float("nan"),
        }


class _Intervals:
    """What quantiles promise and what came of it, added up over windows.

    Args:
        known: the least and the greatest level that the network has.
    """

    def __init__(self, known: tuple[float, float]) -> None:
        def has(level: float) -> bool:
            return known[0] <= level <= known[1]

        self.loss = 0.0
        self.inside = {level: 0 for level in LEVELS if all(map(has, interval(level)))}
        self.levels = list(filter(has, CRPS_LEVELS))
        self.values = 0

    def add(
        self, network: ForecastNetwork, forecast: Forecast, target: np.ndarray, unit: np.ndarray
    ) -> None:
        ends = [end for level in self.inside for end in interval(level)]
        levels = sorted({*self.levels, *ends})
        if not levels:
            return
        found = dict(
            zip(
                levels,
                network.output.quantile(forecast, levels).double().unbind(-1),
                strict=True,
            )
        )
        for level in self.levels:
            error = (target - found[level].numpy()) / unit
            # Twice the pinball loss: its mean over the levels is about the CRPS.
            loss = 2 * np.maximum(level * error, (level - 1) * error)
            self.loss += float(loss.sum()) / len(self.levels)
        for level in self.inside:
            low, high = (found[end].numpy() for end in interval(level))
            self.inside[level] += int(((low <= target) & (target <= high)).sum())
        self.values += target.size

    def figures(self) -> dict[str, float]:
        if not self.values:
            return {}
        shares = {f"coverage_{level}": hit / self.values for level, hit in self.inside.items()}
        return {"crps": self.loss / self.values, **shares} if self.levels else shares


def interval(level: float) -> Sequence[float]:
    """The two quantiles between which so many percent of the values lie."""
    return round(0.5 - level / 200, 6), round(0.5 + level / 200, 6)
