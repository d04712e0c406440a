"""Line charts with bands as inline SVG: axes, ticks, marks and a legend, drawn for a given width.

The SVG is written here and not by a plotting library because the page then colours it by its own
style sheet (light, dark, paper), its text stays text in the reader's font, and a chart takes a
tenth of the bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fastlstm.report.axes import Axis, linear_axis, seconds_of, time_axis, value_axis, whole_axis
from fastlstm.report.errors import ReportError
from fastlstm.report.markup import Markup, element, joined

_LINE_HEIGHT = 15
_LEFT_GAP = 8
_SKETCHED_FEATURES = 3


@dataclass(frozen=True)
class Line:
    """Values over the places of the chart; NaN leaves a gap.

    Attributes:
        name: in the legend.
        style: a class of the style sheet: "first", "second", "third", "actual" or "baseline".
        values: `(N,)`.
        places: `(N,)` numbers or datetime64, as the other lines of the chart.
    """

    name: str
    style: str
    values: NDArray[np.float64]
    places: NDArray


@dataclass(frozen=True)
class Band:
    """An interval around a line, from `lower` to `upper`; `style` is "wide" or "narrow"."""

    name: str
    style: str
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    places: NDArray


@dataclass(frozen=True)
class Mark:
    """A vertical line with a word beside it, and a ring around the value there if it is given."""

    place: float | np.datetime64
    label: str
    value: float | None = None


@dataclass(frozen=True)
class Chart:
    """What a line chart shows.

    Attributes:
        description: what a reader who cannot see the chart is told.
        lines: at least one.
        x_label: what the places are.
        bands: drawn behind the lines, in this order.
        marks: drawn before the lines.
        percent: the values are shares, labelled as percentages.
        whole: the places are whole numbers, such as epochs.
    """

    description: str
    lines: Sequence[Line]
    x_label: str = ""
    bands: Sequence[Band] = ()
    marks: Sequence[Mark] = field(default=())
    percent: bool = False
    whole: bool = False

    def __post_init__(self) -> None:
        for part in (*self.lines, *self.bands):
            arrays = (part.values,) if isinstance(part, Line) else (part.lower, part.upper)
            for values in arrays:
                if values.shape != part.places.shape or values.ndim != 1 or values.size == 0:
                    raise ReportError(
                        f"{part.name}: expected a value at each place, got values of shape "
                        f"{values.shape} at places of shape {part.places.shape}"
                    )


def figure(charts: Sequence[Chart | tuple[str, Chart]], *, side_by_side: bool = False) -> Markup:
    """One chart across the page, or small ones side by side, each with its title and legend.

    Each is drawn twice, for a wide and a narrow screen, and the style sheet shows one of them:
    text in a drawing that is scaled down could not be read.
    """
    drawn = []
    for item in charts:
        title, chart = item if isinstance(item, tuple) else ("", item)
        width, height = (450, 250) if side_by_side else (926, 330)
        pictures = (
            element("div", draw(chart, width, height), class_="for-wide"),
            element("div", draw(chart, 330, 230), class_="for-narrow"),
        )
        heading = element("h3", title) if title else ""
        drawn.append(element("figure", heading, _legend(chart), *pictures))
    return element("div", *drawn, class_="charts" if side_by_side else "chart")


def draw(chart: Chart, width: int, height: int) -> Markup:
    """The chart as an SVG element of `width` × `height` px."""
    plot = _Plot(chart, width, height)
    content = joined(
        [
            *plot.value_ticks(),
            *plot.place_ticks(),
            *(plot.band(band) for band in chart.bands),
            *(plot.mark(mark) for mark in chart.marks),
            *(plot.line(line) for line in chart.lines),
            *(plot.ring(mark) for mark in chart.marks if mark.value is not None),
        ]
    )
    return element(
        "svg",
        element("title", chart.description),
        content,
        viewBox=f"0 0 {width} {height}",
        role="img",
    )


def sketch(values: NDArray[np.floating], description: str) -> Markup:
    """The course of a sequence `(T,)` or `(T, F)` without axes: its first three features."""
    columns = np.atleast_2d(values.T)[:_SKETCHED_FEATURES].astype(np.float64)
    axis = linear_axis(columns, 1)
    x = np.linspace(3.0, 157.0, columns.shape[1])
    lines = []
    for column, style in zip(columns, ("first", "second", "third"), strict=False):
        path = _path(*_thinned(x, 97.0 - 94.0 * axis.place(column)))
        lines.append(element("path", class_=f"line {style}", d=path))
    title = element("title", description)
    return element("svg", title, *lines, class_="sketch", viewBox="0 0 160 100", role="img")


class _Plot:
    """Where things are in one drawing of a chart."""

    def __init__(self, chart: Chart, width: int, height: int) -> None:
        self._chart = chart
        self._y = _value_axis(chart)
        self._left = max(_text_width(tick.label) for tick in self._y.ticks) + _LEFT_GAP
        self._right = width - 14.0
        self._x = self._place_axis(self._right - self._left)
        self._top = _LINE_HEIGHT + 4.0 if chart.marks else 8.0
        has_context = any(tick.context for tick in self._x.ticks)
        lines_below = 1 + has_context + bool(chart.x_label)
        self._bottom = height - lines_below * _LINE_HEIGHT - 6.0

    def _place_axis(self, room: float) -> Axis:
        places = np.concatenate([part.places for part in (*self._chart.lines, *self._chart.bands)])
        if np.issubdtype(places.dtype, np.datetime64):
            return time_axis(places, max(2, int(room / 62)))
        if self._chart.whole:
            return whole_axis(places, max(2, int(room / 48)))
        return linear_axis(places, max(2, int(room / 62)), loose=False)

    def across(self, places: NDArray) -> NDArray[np.float64]:
        if np.issubdtype(places.dtype, np.datetime64):
            places = seconds_of(places)
        return self._left + (self._right - self._left) * self._x.place(places)

    def down(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        return self._bottom - (self._bottom - self._top) * self._y.place(values)

    def value_ticks(self) -> list[Markup]:
        """Grid lines across the plot, and their values left of it."""
        drawn = []
        for tick in self._y.ticks:
            y = float(self.down(np.array(tick.value)))
            drawn += [
                element("line", class_="grid", x1=self._left, x2=self._right, y1=y, y2=y),
                element("text", tick.label, x=self._left - _LEFT_GAP, y=y + 4, text_anchor="end"),
            ]
        return drawn

    def place_ticks(self) -> list[Markup]:
        """The values of the places under the plot, with their context and what they are."""
        drawn = []
        y = self._bottom + _LINE_HEIGHT + 2
        for tick in self._x.ticks:
            across = self._left + (self._right - self._left) * float(self._x.place(tick.value))
            half = max(_text_width(tick.label), _text_width(tick.context)) / 2
            # A label at an edge leans inwards rather than out of the picture.
            anchor, x = "middle", across
            if across + half > self._right + 14:
                anchor, x = "end", self._right + 14
            drawn.append(
                element(
                    "line",
                    class_="tick",
                    x1=across,
                    x2=across,
                    y1=self._bottom,
                    y2=self._bottom + 4,
                )
            )
            for line, text in enumerate(filter(None, (tick.label, tick.context))):
                drawn.append(
                    element("text", text, x=x, y=y + line * _LINE_HEIGHT, text_anchor=anchor)
                )
        if self._chart.x_label:
            x, y = (self._left + self._right) / 2, y + _LINE_HEIGHT
            y += _LINE_HEIGHT * any(tick.context for tick in self._x.ticks)
            label = _shortened(self._chart.x_label, self._right - self._left)
            drawn.append(element("text", label, x=x, y=y, text_anchor="middle"))
        return drawn

    def line(self, line: Line) -> Markup:
        x, y = self.across(line.places), self.down(line.values)
        x, y = _thinned(x, y)
        drawn = [element("path", class_=f"line {line.style}", d=_path(x, y))]
        for alone in _alone(y):
            drawn.append(
                element("circle", class_=f"dot {line.style}", cx=x[alone], cy=y[alone], r=3)
            )
        return joined(drawn)

    def band(self, band: Band) -> Markup:
        x = self.across(band.places)
        there = np.isfinite(band.lower) & np.isfinite(band.upper)
        pieces = []
        for piece in _runs(there):
            forward = _path(x[piece], self.down(band.upper[piece]))
            back = _path(x[piece][::-1], self.down(band.lower[piece])[::-1])
            pieces.append(f"{forward}L{back[1:]}Z")
        return element("path", class_=f"band {band.style}", d="".join(pieces))

    def mark(self, mark: Mark) -> Markup:
        x = float(self.across(np.array([mark.place]))[0])
        anchor = "end" if x + _text_width(mark.label) > self._right else "start"
        return joined(
            [
                element("line", class_="mark", x1=x, x2=x, y1=self._top, y2=self._bottom),
                element(
                    "text", mark.label, class_="mark", x=x, y=self._top - 5, text_anchor=anchor
                ),
            ]
        )

    def ring(self, mark: Mark) -> Markup:
        x = float(self.across(np.array([mark.place]))[0])
        y = float(self.down(np.array(mark.value)))
        return element("circle", class_="ring", cx=x, cy=y, r=5)


def _value_axis(chart: Chart) -> Axis:
    values = [line.values for line in chart.lines]
    values += [edge for band in chart.bands for edge in (band.lower, band.upper)]
    return value_axis(np.concatenate(values), 5, percent=chart.percent)


def _legend(chart: Chart) -> Markup:
    keys = [(f"line {line.style}", line.name) for line in chart.lines]
    keys += [(f"band {band.style}", band.name) for band in chart.bands]
    items = [element("li", element("i", class_=f"key {style}"), name) for style, name in keys]
    if _value_axis(chart).logarithmic:
        items.append(element("li", "logarithmic scale"))
    return element("ul", *items, class_="legend")


def _text_width(text: str) -> float:
    """About how wide a text of 12 px is in the widest of the style sheet's fonts."""
    narrow = sum(character in ".,: " for character in text)
    wide = sum(character in "%MWm−" for character in text)
    return 7.7 * len(text) - 3.5 * narrow + 4.0 * wide


def _shortened(text: str, room: float) -> str:
    """The text, or as much of its beginning as fits."""
    if _text_width(text) <= room:
        return text
    fits = next(size for size in range(len(text), -1, -1) if _text_width(text[:size]) < room - 12)
    return text[:fits] + "…"


def _path(x: NDArray[np.float64], y: NDArray[np.float64]) -> str:
    """Points as an SVG path, in tenths of a pixel; begins anew after a gap."""
    commands, drawing = [], False
    for across, down in zip(x.tolist(), y.tolist(), strict=True):
        if np.isfinite(down):
            commands.append(f"{'L' if drawing else 'M'}{across:.1f} {down:.1f}")
        drawing = bool(np.isfinite(down))
    return "".join(commands)


def _alone(y: NDArray[np.float64]) -> list[int]:
    """Points with a gap on both sides, which a path would not show."""
    return [piece.start for piece in _runs(np.isfinite(y)) if piece.stop - piece.start == 1]


def _runs(there: NDArray[np.bool_]) -> list[slice]:
    """The stretches where `there` holds."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], there, [False]]).astype(np.int8)))
    return [slice(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]


def _thinned(
    x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """At most four points a pixel: of the others only the lowest and highest could be seen."""
    if x.size < 4 * (abs(x[-1] - x[0]) + 1):
        return x, y
    columns = np.floor(x).astype(np.int64)
    kept: list[int] = []
    for piece in np.split(np.arange(x.size), np.flatnonzero(np.diff(columns)) + 1):
        column = y[piece]
        if np.isfinite(column).any():
            extremes = {int(np.nanargmin(column)), int(np.nanargmax(column))}
            kept += sorted(int(piece[0]) + place for place in {0, *extremes, piece.size - 1})
        else:
            kept.append(int(piece[0]))
    return x[kept], y[kept]
