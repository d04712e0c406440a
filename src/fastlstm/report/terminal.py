"""The end of a run in a terminal: the metric table and a small chart, readable without colour."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from fastlstm.report import formats
from fastlstm.report.errors import ReportError
from fastlstm.report.metrics import Scores

_BLOCKS = " ▁▂▃▄▅▆▇█"
_WIDEST = 60


def score_table(scores: Scores) -> Table:
    """The metrics, their baseline and the difference, as rich draws them; at most 80 columns."""
    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    drawn.add_column("metric", max_width=24)
    drawn.add_column("this model", justify="right", style="bold")
    if scores.baseline_name:
        drawn.add_column(Text(scores.baseline_name), justify="right", max_width=16)
        drawn.add_column("difference", justify="right")
    colours = {"better": "green", "worse": "red", "equal": "", "unknown": ""}
    for metric in scores.metrics:
        cells = [Text(metric.name), Text(formats.figure(metric.value, percent=metric.percent))]
        if scores.baseline_name:
            cells.append(Text(formats.figure(metric.baseline, percent=metric.percent)))
            cells.append(Text(metric.change(), style=colours[metric.verdict()]))
        drawn.add_row(*cells)
    return drawn


def text_chart(
    name: str, values: Sequence[float], *, height: int = 6, percent: bool = False
) -> Group:
    """A curve over the epochs as columns of blocks; at most 80 columns wide.

    Args:
        name: what the values are.
        values: one for each epoch; NaN leaves its column empty. More than 60 epochs share columns.
        height: in lines.
        percent: the values are shares.

    Raises:
        ReportError: no value is finite.
    """
    given = np.asarray(values, dtype=np.float64)
    finite = given[np.isfinite(given)]
    if finite.size == 0:
        raise ReportError(f"{name}: expected a finite value to draw, got none in {given.size}")
    columns = _columns(given)
    low, high = float(finite.min()), float(finite.max())
    levels = [_level(value, low, high, 8 * height) for value in columns]
    top, bottom = (formats.figure(value, percent=percent) for value in (high, low))
    margin = max(len(top), len(bottom), 6)
    lines = [Text(f"{name} over {formats.count(given.size, 'epoch')}", style="bold")]
    for row in reversed(range(height)):
        label = top if row == height - 1 else bottom if row == 0 else ""
        blocks = "".join(_BLOCKS[min(max(level - 8 * row, 0), 8)] for level in levels)
        lines.append(Text(f"{label:>{margin}} ┤{blocks}".rstrip(), no_wrap=True))
    first, last = "1", f"{given.size:,}"
    gap = " " * max(1, columns.size - len(first) - len(last))
    lines.append(Text(f"{' ' * margin} └{'─' * columns.size}"))
    lines.append(Text(f"{' ' * margin}  {first}{gap}{last if given.size > 1 else ''}".rstrip()))
    return Group(*lines)


def _columns(values: np.ndarray) -> np.ndarray:
    """A value for each column: of several epochs in one, the last that has a value."""
    if values.size <= _WIDEST:
        # A few epochs get columns wide enough to see.
        return np.repeat(values, max(1, min(4, _WIDEST // values.size)))
    shared = []
    for piece in np.array_split(values, _WIDEST):
        there = piece[np.isfinite(piece)]
        shared.append(there[-1] if there.size else math.nan)
    return np.array(shared)


def _level(value: float, low: float, high: float, steps: int) -> int:
    """How many eighths of a line a column is high; the lowest value still shows."""
    if not math.isfinite(value):
        return 0
    share = (value - low) / (high - low) if high > low else 0.5
    return 1 + round(share * (steps - 1))
