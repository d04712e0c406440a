"""What a forecaster's network is trained on: windows, their units, and how many there are."""

import numpy as np
import torch

from fastlstm.data import SeriesColumns, TimeRange, Windows, read_series, series_from_array
from fastlstm.tasks.forecasting import ForecastExamples, ForecastObjective, network_inputs
from fastlstm.tasks.forecasting_input import spread_of_series, statistics
from forecasting_cases import small, waves


def test_steps_before_a_series_begins_are_missing() -> None:
    windows = Windows(series_from_array(np.arange(6.0) + 1), 4, 2, minimum_input=2)
    past, *others = network_inputs(windows.batch([0, 1, 2]))
    assert others == [None] * 4
    assert past is not None
    assert torch.equal(past[:, :, 0].isnan().sum(1), torch.tensor([2, 1, 0]))
    assert past[0, 2:, 0].tolist() == [1, 2]


def test_errors_are_measured_in_the_spread_of_each_series() -> None:
    series = series_from_array([[[1, 5], [3, 5]], [[10, 5], [30, 5]], [[7, 5], [7, 5]]], ("a", "b"))
    found = spread_of_series(series, TimeRange.whole(series))
    # A flat series in the mean of the others; where all are flat, by one.
    assert found.tolist() == [[1, 1], [10, 1], [5.5, 1]]
    first = TimeRange(series.offsets[:-1], series.offsets[:-1] + 1)
    assert spread_of_series(series, first).tolist() == [[1, 1]] * 3


def test_a_loss_has_no_unit() -> None:
    frame = waves()
    network = small(output="point", point_loss="mse", calendar=()).fit(frame).network_.eval()
    losses = []
    for factor in (1.0, 100.0):
        series = read_series(frame.assign(y=frame["y"] * factor))
        units = spread_of_series(series, TimeRange.whole(series))
        examples = ForecastExamples(Windows(series, 14, 5), units)
        batch = examples.batch(range(len(examples)))
        with torch.no_grad():
            loss = ForecastObjective(network).loss(batch, None)
            errors = network.output.mean(network(*batch.inputs)) - batch.target
        losses.append(float(loss.total) / loss.weight)
        assert loss.weight == batch.target.numel()
        of_series = torch.from_numpy(units)[:, None].repeat_interleave(len(examples) // 3, 0)
        order = np.argsort(examples.indices)
        squares = (errors[order] / of_series).square().mean()
        assert abs(losses[-1] / float(squares) - 1) < 1e-4
    assert abs(losses[1] / losses[0] - 1) < 1e-3


def test_an_epoch_draws_or_repeats_windows() -> None:
    windows = Windows(series_from_array(np.arange(30.0)), 4, 2)
    units = np.ones((1, 1), dtype=np.float32)
    assert len(windows) == 25
    drawn = ForecastExamples(windows, units, 10)
    assert len(drawn) == len(set(drawn.indices.tolist())) == 10
    repeated = ForecastExamples(windows, units, 60)
    counts = np.bincount(repeated.indices, minlength=25)
    assert (len(repeated), set(counts.tolist())) == (60, {2, 3})
    every = ForecastExamples(windows, units)
    assert sorted(every.indices.tolist()) == list(range(25))


def test_statistics_are_those_of_the_range() -> None:
    columns = SeriesColumns(past=("weather",))
    series = read_series(waves(), columns)
    within = TimeRange(series.offsets[:-1], series.offsets[:-1] + 40)
    mean, spread = statistics(series, within, ("weather",))
    frame = waves()
    values = frame[frame.groupby("unique_id").cumcount() < 40]["weather"]
    assert abs(float(mean[0]) - values.mean()) < 1e-6
    assert abs(float(spread[0]) - values.std(ddof=0)) < 1e-6
