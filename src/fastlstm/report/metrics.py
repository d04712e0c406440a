"""Scores beside what a simple method reaches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from fastlstm.report import formats
from fastlstm.report.errors import ReportError
from fastlstm.report.markup import Markup, element
from fastlstm.report.section import Section, table


@dataclass(frozen=True)
class Metric:
    """A score on data that the model was not trained on.

    Attributes:
        name: such as "accuracy".
        value: of this model.
        baseline: of the simple method; None where it has none.
        better: which way is better.
        percent: the value is a share, shown as a percentage.
    """

    name: str
    value: float
    baseline: float | None = None
    better: Literal["higher", "lower"] = "higher"
    percent: bool = False

    def verdict(self) -> Literal["better", "worse", "equal", "unknown"]:
        """How the model stands beside the baseline; unknown where either has no value."""
        if self.baseline is None or math.isnan(self.value) or math.isnan(self.baseline):
            return "unknown"
        if self.value == self.baseline:
            return "equal"
        return "better" if (self.value > self.baseline) == (self.better == "higher") else "worse"

    def change(self) -> str:
        """The difference from the baseline in words: ``▲ +3.20 points, better``."""
        verdict = self.verdict()
        if self.baseline is None or verdict == "unknown":
            return formats.MISSING
        if verdict == "equal":
            return "= equal"
        arrow = "▲" if self.value > self.baseline else "▼"
        change = formats.difference(self.value, self.baseline, percent=self.percent)
        return f"{arrow}{formats.SPACE}{change}, {verdict}"


@dataclass(frozen=True)
class Scores:
    """The metrics of a run, the deciding one first, and the name of their baseline, if any.

    Raises:
        ReportError: there is no metric, or a metric has a baseline that is not named.
    """

    metrics: Sequence[Metric]
    baseline_name: str = ""

    def __post_init__(self) -> None:
        if not self.metrics:
            raise ReportError("expected at least one metric, got none")
        unnamed = [metric.name for metric in self.metrics if metric.baseline is not None]
        if unnamed and not self.baseline_name:
            raise ReportError(f"{unnamed[0]} has a baseline: expected a baseline_name, got none")


def metric_table(scores: Scores) -> Section:
    """Every metric, its baseline and how far they are apart."""
    rows = []
    for metric in scores.metrics:
        row: list[str] = [metric.name, formats.figure(metric.value, percent=metric.percent)]
        if scores.baseline_name:
            row.append(formats.figure(metric.baseline, percent=metric.percent))
            row.append(element("td", metric.change(), class_=metric.verdict()))
        rows.append(row)
    beside = [scores.baseline_name, "difference"] if scores.baseline_name else []
    return Section(
        "Scores",
        table("Scores on held-out data", ["metric", "this model", *beside], rows),
        "On data that the model was not trained on.",
    )


def headline(scores: Scores) -> Markup:
    """The deciding metric in large figures, with its baseline beside it."""
    metric = scores.metrics[0]
    value = formats.figure(metric.value, percent=metric.percent)
    tiles = [_tile(metric.name, value, "score")]
    if metric.baseline is not None:
        baseline = formats.figure(metric.baseline, percent=metric.percent)
        tiles.append(_tile(scores.baseline_name, baseline, "baseline"))
        tiles.append(_tile("difference", metric.change(), f"change {metric.verdict()}"))
    return element("div", *tiles, class_="tiles")


def _tile(name: str, value: str, kind: str) -> Markup:
    return element("p", element("span", name), " ", element("strong", value), class_=f"tile {kind}")
