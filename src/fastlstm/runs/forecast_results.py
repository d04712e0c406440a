"""What came of forecasts: the figures, and the pictures of a report."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from fastlstm.report import Forecast, HorizonErrors, Metric, Scores, forecasts, horizon_errors
from fastlstm.runs.forecast_series import SeriesPart
from fastlstm.runs.task import Results
from fastlstm.tasks import Forecaster

MOST_WINDOWS = 20_000
"""Of more windows, every second, third and so on is measured."""

SHOWN = 8
"""So many forecasts are drawn."""

HISTORY = 3
"""So many horizons before a forecast are drawn."""

LEVELS = (80, 90)


def results_of(estimator: Forecaster, part: SeriesPart) -> Results:
    """Measure every window of the end of the series, and draw the last one of each."""
    steps = max(part.steps, part.horizon)
    windows = int((part.series.lengths.clip(max=steps) - part.horizon + 1).clip(min=0).sum())
    stride = max(1, math.ceil(windows / MOST_WINDOWS))
    found = estimator.measure(part.series, steps, stride, standardised=part.standardised)
    season = estimator.season_of(part.series)
    naive = f"seasonal naive ({season} steps)" if season > 1 else "last value"
    unit = " in standard deviations" if part.standardised else ""
    scores = Scores(_metrics(found.figures), naive)
    shown, total = _drawn(estimator, part)
    sections = [
        forecasts(shown, total, part.series.columns.time),
        horizon_errors(
            HorizonErrors(f"MAE{unit}", found.by_step.tolist(), found.naive_by_step.tolist(), naive)
        ),
    ]
    return Results(_description(estimator, part, found.windows, unit), scores, sections)


def _metrics(figures: Mapping[str, float]) -> list[Metric]:
    named = {"mae": "MAE", "mse": "MSE", "rmse": "RMSE", "smape": "sMAPE (%)", "mase": "MASE"}
    metrics = [
        Metric(shown, figures[name], figures[f"naive_{name}"], better="lower")
        for name, shown in named.items()
    ]
    if "crps" in figures:
        # The CRPS of a single number is its absolute error (Gneiting & Raftery 2007).
        metrics.append(Metric("CRPS", figures["crps"], figures["naive_mae"], better="lower"))
    for level in LEVELS:
        if f"coverage_{level}" in figures:
            value = figures[f"coverage_{level}"]
            metrics.append(Metric(f"inside the {level} % interval", value, percent=True))
    return metrics


def _description(estimator: Forecaster, part: SeriesPart, windows: int, unit: str) -> str:
    config = estimator.network_.config
    series = part.series
    targets = len(series.columns.targets)
    what = f"{len(series):,} series" if len(series) > 1 else "a series"
    several = f" of {targets} targets" if targets > 1 else ""
    count = f"{windows:,} forecasts, each" if windows > 1 else "one forecast"
    measured = f" Errors are{unit} of each target in training." if unit else ""
    return (
        f"Forecasts of {what}{several}, {part.horizon:,} steps ahead from the last "
        f"{config.window:,}: an LSTM of {config.lstm.hidden_size} units. Scored on {count} from "
        f"all that is before.{measured}"
    )


def _drawn(estimator: Forecaster, part: SeriesPart) -> tuple[list[Forecast], int]:
    """The last forecast of some series and targets, and how many there are of these in all."""
    horizon, names = part.horizon, part.series.columns.targets
    total = len(part.series) * len(names)
    series = part.series.select(np.arange(min(SHOWN, len(part.series))))
    kept = np.flatnonzero(series.lengths > horizon)
    series = series.select(kept).last(horizon * (HISTORY + 1) + estimator.network_.config.window)
    levels = () if estimator.output == "point" else LEVELS
    found = estimator.forecast_end(series, levels)
    shown = []
    for index, name in enumerate(series.names):
        rows = slice(series.offsets[index], series.offsets[index + 1])
        for channel, target in enumerate(names):
            title = target if len(names) > 1 else str(name)
            if len(names) > 1 and len(part.series) > 1:
                title = f"{name}, {target}"
            shown.append(
                Forecast(
                    title if series.columns.identifier is not None or len(names) > 1 else target,
                    series.stamps(index)[-horizon * (HISTORY + 1) :],
                    series.values[target][rows][-horizon * (HISTORY + 1) :].astype(np.float64),
                    horizon,
                    found[""][index, :, channel].astype(np.float64),
                    {
                        level: (
                            found[f"-lo-{level}"][index, :, channel].astype(np.float64),
                            found[f"-hi-{level}"][index, :, channel].astype(np.float64),
                        )
                        for level in levels
                    },
                )
            )
    return shown[:SHOWN], total
