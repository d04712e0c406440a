"""The picture of ``RESULTS.md``: how much faster than ``torch.nn.LSTM``, shape by shape."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # draws to a file, with no display
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from benchmarks.marks import Measured, torch_ratio
from benchmarks.records import Record
from benchmarks.shapes import SHAPES

PANELS = [(mode, dtype) for dtype in ("float32", "bfloat16") for mode in ("inference", "training")]
COLORS = {1: "#8fb8de", 2: "#1f5f99"}
BAR_HEIGHT = 0.36


def draw(measured: Measured, path: Path) -> None:
    """Write the picture: a panel for each mode and precision, two bars for each shape."""
    figure, axes = pyplot.subplots(2, 2, figsize=(11, 10), sharex=True, sharey=True)
    for axis, (mode, dtype) in zip(axes.flat, PANELS, strict=True):
        _panel(axis, measured.of("shapes", mode, dtype))
        axis.set_title(f"{mode}, {dtype}", loc="left", fontsize=11)
    for axis in axes[-1]:
        axis.set_xlabel("times as fast as torch.nn.LSTM (log scale)")
    for axis in axes[:, 0]:
        axis.set_ylabel("steps × batch × input × hidden × layers")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="upper right", ncols=2, frameon=False)
    figure.suptitle("fastlstm over torch.nn.LSTM", x=0.01, ha="left", fontsize=14)
    figure.tight_layout(rect=(0, 0, 1, 0.99))
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


def _panel(axis: Axes, records: Sequence[Record]) -> None:
    shapes = list(SHAPES)
    for offset, threads in ((-BAR_HEIGHT / 2, 1), (BAR_HEIGHT / 2, 2)):
        found = {r.label: torch_ratio(r) for r in records if r.threads == threads}
        for index, shape in enumerate(shapes):
            ratio = found.get(shape)
            if ratio is None:
                if shape in found:
                    axis.annotate("FAILED", (1, index + offset), va="center", fontsize=7)
                continue
            # From 1 outwards: to the left is slower.
            axis.barh(index + offset, ratio - 1, BAR_HEIGHT, left=1, color=COLORS[threads])
            axis.annotate(
                f"{ratio:.2g}×" if ratio < 10 else f"{ratio:.0f}×",
                (ratio, index + offset),
                xytext=(3 if ratio >= 1 else -3, 0),
                textcoords="offset points",
                ha="left" if ratio >= 1 else "right",
                va="center",
                fontsize=7,
            )
        axis.barh(
            0, 0, left=1, color=COLORS[threads], label=f"{threads} thread{'s'[: threads - 1]}"
        )
    axis.set_xscale("log")
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.margins(x=0.12)
    axis.axvline(1, color="black", linewidth=0.8)
    axis.grid(axis="x", color="#dddddd", linewidth=0.6)
    axis.set_axisbelow(True)
    axis.set_yticks(range(len(shapes)), [shape.replace("x", "×") for shape in shapes], fontsize=8)
    axis.set_ylim(len(shapes) - 0.4, -0.6)
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)
    axis.tick_params(axis="y", length=0)
