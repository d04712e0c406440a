"""How the training went: loss and metric over the epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fastlstm.report import formats
from fastlstm.report.charts import Chart, Line, Mark, figure
from fastlstm.report.errors import ReportError
from fastlstm.report.section import Section

_STYLES = ("first", "second", "third")


@dataclass(frozen=True)
class LearningCurves:
    """A value for each epoch; NaN where there is none.

    Attributes:
        epochs: their numbers, ascending.
        losses: by name, up to three: ``{"training": [...], "validation": [...]}``; as the figures
            of `metrics`, one for each epoch.
        metric_name: what `metrics` holds, such as "accuracy".
        metrics: by name, as `losses`; empty where only the loss was measured.
        best_epoch: the epoch whose weights were kept.
        percent: the metrics are shares.

    Raises:
        ReportError: a curve has not one value for each epoch, there is none or more than three,
            or `best_epoch` is not one of `epochs`.
    """

    epochs: Sequence[int]
    losses: Mapping[str, Sequence[float]]
    best_epoch: int
    metric_name: str = ""
    metrics: Mapping[str, Sequence[float]] | None = None
    percent: bool = False

    def __post_init__(self) -> None:
        for kind, curves in (("losses", self.losses), ("metrics", self.metrics or {})):
            if len(curves) > len(_STYLES) or (kind == "losses" and not curves):
                raise ReportError(f"{kind}: expected one to three curves, got {len(curves)}")
            for name, values in curves.items():
                if len(values) != len(self.epochs):
                    raise ReportError(
                        f"{kind}, {name}: expected a value for each of {len(self.epochs)} epochs, "
                        f"got {len(values)}"
                    )
        if self.best_epoch not in self.epochs:
            raise ReportError(f"best_epoch: expected one of the epochs, got {self.best_epoch}")


def learning_curves(curves: LearningCurves) -> Section:
    """Loss and metric over the epochs, with a mark at the epoch that was kept."""
    charts = [("Loss", _chart(curves, "loss", curves.losses, percent=False))]
    if curves.metrics:
        name = curves.metric_name
        chart = _chart(curves, name, curves.metrics, percent=curves.percent)
        charts.append((name[:1].upper() + name[1:], chart))
    return Section(
        "Learning curves",
        figure(charts, side_by_side=True),
        f"{formats.count(len(curves.epochs), 'epoch')}; the weights of epoch "
        f"{curves.best_epoch} were kept.",
    )


def _chart(
    curves: LearningCurves, name: str, values: Mapping[str, Sequence[float]], *, percent: bool
) -> Chart:
    epochs = np.asarray(curves.epochs, dtype=np.float64)
    lines = [
        Line(curve, style, np.asarray(of_epochs, dtype=np.float64), epochs)
        for style, (curve, of_epochs) in zip(_STYLES, values.items(), strict=False)
    ]
    # The last curve is the one on validation data, if there is any: it decided.
    best = float(lines[-1].values[list(curves.epochs).index(curves.best_epoch)])
    described = "; ".join(
        f"{line.name} from {formats.figure(line.values[0], percent=percent)} "
        f"to {formats.figure(line.values[-1], percent=percent)}"
        for line in lines
    )
    return Chart(
        f"{name} over {len(epochs)} epochs: {described}; best epoch {curves.best_epoch}",
        lines,
        x_label="epoch",
        marks=[Mark(curves.best_epoch, "best", best if np.isfinite(best) else None)],
        percent=percent,
        whole=True,
    )
