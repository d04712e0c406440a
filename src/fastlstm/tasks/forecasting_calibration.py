"""Intervals that hold what they say: quantiles moved by what the validation windows show.

What a network learns in training is too sure of windows that it has not seen. This is conformalised
quantile regression (Romano, Patterson & Candès 2019): of an interval and the values of held-out
windows, the distance by which both of its ends must move for the right share to lie inside. It is
measured in each window's own units, and one number for all steps and targets.

Two things are otherwise. Quantiles only move outwards: the best epoch was chosen by these windows,
which therefore flatter it. And they move by the share of the distance that the number of windows
warrants, as one window tells little: neighbouring values, and windows that overlap, err alike.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from fastlstm.atomic import write_atomically
from fastlstm.models import Forecast, ForecastNetwork, ModelError, QuantileOutput
from fastlstm.tasks.forecasting import ForecastExamples
from fastlstm.tasks.placing import beside
from fastlstm.training import RunFolderError
from fastlstm.training.folder import read_object

FILE = "calibration.json"

Pair = tuple[int | None, int | None]
"""The places of the two ends of an interval among the levels."""

BATCH = 32
"""How many windows are forecast at once."""

MOST_VALUES = 1_000_000
"""Of more values only the first windows count; they are in random order."""

DOUBT = 1.0
"""With n windows end to end quantiles move by the share n / (n + DOUBT).

0, 1, 2, 4 and 8 were tried on the training parts of ETTh1, ETTh2, ETTm1, airline, sunspots and
traffic: with 0 the quantiles of series of one window lose more than they gain, and with more than 1
they miss more for hardly any gain in loss.
"""


def calibrate(network: ForecastNetwork, examples: ForecastExamples) -> None:
    """Move the quantiles of a network by what windows show that it was not trained on.

    Args:
        network: its output keeps the offsets; one that is not of quantiles is left as it is.
        examples: the validation windows.
    """
    output = network.output
    if not isinstance(output, QuantileOutput):
        return
    windows = examples.windows
    spans = len(windows.series.columns.targets) * -(-windows.counts // windows.horizon).sum()
    pairs = _pairs(output.levels)
    offsets = np.zeros(len(output.levels))
    for (low, high), misses in zip(pairs, _misses(network, output, examples, pairs), strict=True):
        below = 0.0 if low is None else output.levels[low]
        inside = (1.0 if high is None else output.levels[high]) - below
        distance = max(0.0, np.nanquantile(misses, inside)) * spans / (spans + DOUBT)
        for place, sign in ((low, -1), (high, 1)):
            if place is not None:
                offsets[place] += sign * distance
    output.calibrate(offsets.tolist())


def _pairs(levels: tuple[float, ...]) -> list[Pair]:
    """The places of the two ends of each interval; a level whose mirror is not there is alone."""
    places = {round(level, 6): place for place, level in enumerate(levels)}
    outer = sorted({round(max(level, 1 - level), 6) for level in levels} - {0.5})
    return [(places.get(round(1 - level, 6)), places.get(level)) for level in outer]


def _misses(
    network: ForecastNetwork, output: QuantileOutput, examples: ForecastExamples, pairs: list[Pair]
) -> Iterator[np.ndarray]:
    """Of each pair how far each value lies outside, below zero inside, in the window's units."""
    windows = examples.windows
    values = windows.horizon * len(windows.series.columns.targets)
    count = min(len(examples), max(1, MOST_VALUES // values))
    found: list[list[torch.Tensor]] = [[] for _ in pairs]
    network.eval()
    with torch.inference_mode():
        for first in range(0, count, BATCH):
            batch = beside(network, examples.batch(range(first, min(first + BATCH, count))))
            forecast: Forecast = network(*batch.inputs)
            learned = output.values(forecast.raw)
            target = (batch.target - forecast.location) / forecast.scale
            for parts, (low, high) in zip(found, pairs, strict=True):
                ends = [] if low is None else [learned[..., low] - target]
                ends += [] if high is None else [target - learned[..., high]]
                parts.append(torch.stack(ends).amax(0).flatten())
    return (torch.cat(parts).cpu().numpy() for parts in found)


def save_calibration(folder: Path, network: ForecastNetwork) -> None:
    """Write the offsets of a network that has some.

    Raises:
        RunFolderError: the disk refuses.
    """
    output = network.output
    if not isinstance(output, QuantileOutput) or output.offsets is None:
        return
    content = {"levels": output.levels, "offsets": output.offsets}
    try:
        write_atomically(folder / FILE, (json.dumps(content, indent=2) + "\n").encode())
    except OSError as error:
        raise RunFolderError(f"cannot write {folder / FILE}: {error.strerror}") from error


def load_calibration(folder: Path, network: ForecastNetwork) -> None:
    """Read what `save_calibration` wrote; without such a file nothing was calibrated.

    Raises:
        RunFolderError: the file is damaged, or does not fit the network.
    """
    path, output = folder / FILE, network.output
    if not path.exists():
        return
    found = read_object(path)
    try:
        if not isinstance(output, QuantileOutput) or tuple(found["levels"]) != output.levels:
            raise RunFolderError(f"{path} does not fit the network: it is for other levels")
        output.calibrate(found["offsets"])
    except (KeyError, TypeError, ModelError) as error:
        raise RunFolderError(f"{path} is damaged: {error}") from error
