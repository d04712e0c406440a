"""Forecasts over what then happened, and how the error grows with the horizon."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fastlstm.report import formats
from fastlstm.report.charts import Band, Chart, Line, Mark, figure
from fastlstm.report.errors import ReportError
from fastlstm.report.section import Section, left_out, stacked

_MOST_SERIES = 8
_SHORTEST_HISTORY = 72


@dataclass(frozen=True)
class Forecast:
    """A forecast of one series.

    Attributes:
        series: its name.
        times: `(N,)` datetime64 or numbers, ascending: history and horizon.
        actual: `(N,)`; NaN where it is not known.
        horizon: the last so many times were forecast; 1 to N.
        forecast: `(horizon,)`.
        intervals: by level in percent, `(lower, upper)` of `(horizon,)` each: ``{80: (…, …)}``;
            two levels at most, as more could not be told apart.

    Raises:
        ReportError: shapes do not fit, there are more than two levels, or a level is not between
            0 and 100.
    """

    series: str
    times: NDArray
    actual: NDArray[np.float64]
    horizon: int
    forecast: NDArray[np.float64]
    intervals: Mapping[int, tuple[NDArray[np.float64], NDArray[np.float64]]] = field(
        default_factory=dict
    )

    def __post_init__(self) -> None:
        if self.times.ndim != 1 or self.actual.shape != self.times.shape:
            raise ReportError(
                f"{self.series}: expected an actual value at each time, got values of shape "
                f"{self.actual.shape} at times of shape {self.times.shape}"
            )
        if not 1 <= self.horizon <= self.times.size:
            raise ReportError(
                f"{self.series}: expected a horizon of 1 to {self.times.size}, got {self.horizon}"
            )
        if len(self.intervals) > 2:
            raise ReportError(
                f"{self.series}: expected two intervals at most, got {sorted(self.intervals)}"
            )
        parts = {"forecast": self.forecast}
        for level, (lower, upper) in self.intervals.items():
            if not 0 < level < 100:
                raise ReportError(f"{self.series}: expected a level from 1 to 99, got {level}")
            parts |= {f"lower {level} %": lower, f"upper {level} %": upper}
        for name, values in parts.items():
            if values.shape != (self.horizon,):
                raise ReportError(
                    f"{self.series}, {name}: expected shape ({self.horizon},), got {values.shape}"
                )


def forecasts(shown: Sequence[Forecast], total: int, time_name: str = "") -> Section:
    """A chart for each of the first eight series: history, what happened, forecast, intervals.

    Args:
        shown: at least one.
        total: how many series were forecast.
        time_name: what the times are, where they are numbers.

    Raises:
        ReportError: there is none, or there are more than `total`.
    """
    if not 0 < len(shown) <= total:
        raise ReportError(f"expected 1 to {total} forecasts of {total} series, got {len(shown)}")
    first = shown[:_MOST_SERIES]
    charts = [(item.series, _chart(item, time_name)) for item in first]
    note = "What happened, what the model said beforehand, and how sure it was."
    return Section(
        "Forecasts",
        stacked(
            figure(charts, side_by_side=len(charts) > 1),
            left_out(len(first), total, "series", "series"),
        ),
        " ".join([note, *_coverage(shown)]),
    )


def _chart(item: Forecast, time_name: str) -> Chart:
    # A longer history would leave the forecast a sliver at the edge.
    start = max(0, item.times.size - item.horizon - max(item.horizon, _SHORTEST_HISTORY))
    times, ahead = item.times[start:], item.times[-item.horizon :]
    levels = sorted(item.intervals, reverse=True)
    bands = [
        Band(f"{level}{formats.SPACE}% interval", style, *item.intervals[level], ahead)
        for level, style in zip(levels, ("wide", "narrow"), strict=False)
    ]
    return Chart(
        f"{item.series}: {formats.count(item.horizon, 'step')} forecast, from "
        f"{formats.figure(item.forecast[0])} to {formats.figure(item.forecast[-1])}; "
        f"what happened: from {formats.figure(item.actual[-item.horizon])} "
        f"to {formats.figure(item.actual[-1])}",
        [
            Line("actual", "actual", item.actual[start:], times),
            Line("forecast", "first", item.forecast, ahead),
        ],
        x_label="" if np.issubdtype(times.dtype, np.datetime64) else time_name,
        bands=bands,
        marks=[Mark(ahead[0], "forecast")] if times.size > item.horizon else [],
    )


def _coverage(shown: Sequence[Forecast]) -> list[str]:
    """How many of the actual values fell into each interval: what a level promises."""
    sentences = []
    for level in sorted({level for item in shown for level in item.intervals}):
        inside, known = 0, 0
        for item in shown:
            if level in item.intervals:
                lower, upper = item.intervals[level]
                actual = item.actual[-item.horizon :]
                inside += int(((lower <= actual) & (actual <= upper)).sum())
                known += int(np.isfinite(actual).sum())
        if known:
            share = f"{100 * inside / known:.0f}{formats.SPACE}%"
            sentences.append(f"The {level}{formats.SPACE}% intervals shown hold {share}.")
    return sentences


@dataclass(frozen=True)
class HorizonErrors:
    """The error at each step ahead, of this model and, if there is one, of a baseline.

    Attributes:
        metric: what the error is, such as "MAE".
        model: one for each step of the horizon.
        baseline: as `model`; None without one.
        baseline_name: what it is.

    Raises:
        ReportError: the baseline has another number of steps, or there is no step.
    """

    metric: str
    model: Sequence[float]
    baseline: Sequence[float] | None = None
    baseline_name: str = "baseline"

    def __post_init__(self) -> None:
        expected = len(self.model)
        if expected == 0:
            raise ReportError("expected the error of at least one step, got none")
        if self.baseline is not None and len(self.baseline) != expected:
            raise ReportError(
                f"{self.baseline_name}: expected an error for each of {expected} steps, "
                f"got {len(self.baseline)}"
            )


def horizon_errors(errors: HorizonErrors) -> Section:
    """The error over the steps ahead."""
    steps = np.arange(1.0, len(errors.model) + 1)
    lines = [Line("this model", "first", np.asarray(errors.model, dtype=np.float64), steps)]
    if errors.baseline is not None:
        baseline = np.asarray(errors.baseline, dtype=np.float64)
        lines.append(Line(errors.baseline_name, "baseline", baseline, steps))
    described = "; ".join(
        f"{line.name} from {formats.figure(line.values[0])} to {formats.figure(line.values[-1])}"
        for line in lines
    )
    chart = Chart(
        f"{errors.metric} over {len(steps)} steps ahead: {described}",
        lines,
        x_label="steps ahead",
        whole=True,
    )
    return Section(
        "Error by horizon",
        figure([chart]),
        f"{errors.metric} of each step ahead, over all forecasts; lower is better.",
    )
