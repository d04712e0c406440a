"""Forecasts as the user's kind of frame, or as arrays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from fastlstm.data import SeriesSet, WindowBatch, forecast_frame
from fastlstm.models import ForecastNetwork
from fastlstm.tasks.errors import TaskError
from fastlstm.tasks.forecasting import network_inputs
from fastlstm.tasks.forecasting_scores import interval
from fastlstm.tasks.placing import beside

MODEL = "LSTM"
"""What columns of forecasts are called."""

Forecasts = dict[str, np.ndarray]
"""Arrays `(N, H, C)`: the forecast, "", and the ends of its intervals, "-lo-80" and "-hi-80"."""


def interval_levels(level: Sequence[float] | None) -> dict[str, float]:
    """The quantile of each end of each interval.

    Raises:
        TaskError: a level is not between 0 and 100.
    """
    ends: dict[str, float] = {}
    for percent in level or ():
        if not 0 < percent < 100:
            raise TaskError(f"level holds {percent}: expected percents between 0 and 100")
        low, high = interval(percent)
        ends |= {f"-lo-{percent:g}": low, f"-hi-{percent:g}": high}
    return ends


def forecasts_of(
    network: ForecastNetwork, batches: Iterable[WindowBatch], ends: Mapping[str, float]
) -> Forecasts:
    """The forecasts of all batches, one behind the other.

    Args:
        network: makes them.
        batches: of windows.
        ends: as `interval_levels` gives them.
    """
    parts: dict[str, list[torch.Tensor]] = {name: [] for name in ("", *ends)}
    network.eval()
    with torch.inference_mode():
        for batch in batches:
            forecast = network(*beside(network, network_inputs(batch)))
            parts[""].append(network.output.centre(forecast))
            if ends:
                levels = sorted(set(ends.values()))
                quantiles = network.output.quantile(forecast, levels)
                for name, end in ends.items():
                    parts[name].append(quantiles[..., levels.index(end)])
    return {name: torch.cat(found).cpu().numpy() for name, found in parts.items()}


def named_columns(series: SeriesSet, forecasts: Forecasts) -> dict[str, np.ndarray]:
    """`(N, H)` for each column: "LSTM", "LSTM-lo-80"; of several targets "OT-LSTM" and so on."""
    targets = series.columns.targets
    return {
        (f"{MODEL}{end}" if len(targets) == 1 else f"{target}-{MODEL}{end}"): values[..., channel]
        for channel, target in enumerate(targets)
        for end, values in forecasts.items()
    }


def answer_frame(series: SeriesSet, forecasts: Forecasts, horizon: int) -> Any:
    """A frame with a row for each series and step ahead."""
    return forecast_frame(series, named_columns(series, forecasts), horizon)


def answer_array(forecasts: Forecasts, axes: int, with_intervals: bool) -> Any:
    """Arrays with as many axes as the user's: `(H,)`, `(H, C)` or `(N, H, C)`.

    Returns:
        The forecast; with intervals, a mapping of "LSTM", "LSTM-lo-80" and so on.
    """
    place: Any = {1: (0, slice(None), 0), 2: 0}.get(axes, slice(None))
    shaped = {f"{MODEL}{end}": values[place] for end, values in forecasts.items()}
    return shaped if with_intervals else shaped[MODEL]
