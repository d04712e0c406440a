"""Windows, the parts in time that they come from, and scalers."""

import json
import re

import numpy as np
import polars as pl
import pytest
import torch

from fastlstm.data import (
    DataError,
    Scaler,
    SeriesColumns,
    TimeRange,
    Windows,
    ett_ranges,
    latest_windows,
    read_future,
    read_series,
    series_from_array,
)

LENGTHS = (7, 3, 5)


def fails(message):
    return pytest.raises(DataError, match=f"^{re.escape(message)}$")


@pytest.fixture
def series():
    """Three series; series i has the targets 100 i + step, and covariates made from them."""
    names = [name for name, length in zip("abc", LENGTHS, strict=True) for _ in range(length)]
    y = np.concatenate([100 * i + np.arange(length) for i, length in enumerate(LENGTHS)])
    frame = pl.DataFrame(
        {
            "unique_id": names,
            "ds": y,
            "y": y,
            "p": y + 0.5,
            "f": -y,
            "kind": names,
            "size": [len(name) + ord(name) for name in names],
        }
    )
    columns = SeriesColumns(past=("p",), future=("f",), static=("kind", "size"))
    return read_series(frame, columns, frequency="1")


def test_windows_of_unequal_series(series):
    windows = Windows(series, input_chunk=2, horizon=2)
    assert len(windows) == 4 + 0 + 2
    assert windows.lengths is None
    number, origin = windows.origins(np.arange(6))
    assert number.tolist() == [0, 0, 0, 0, 2, 2]
    assert origin.tolist() == [2, 3, 4, 5, 12, 13]
    batch = windows.batch([4, 1])
    assert batch.past.tolist() == [[[200], [201]], [[1], [2]]]
    assert batch.target.tolist() == [[[202], [203]], [[3], [4]]]
    assert batch.past_covariates.tolist() == [[[200.5], [201.5]], [[1.5], [2.5]]]
    assert batch.future_covariates.tolist() == [
        [[-200], [-201], [-202], [-203]],
        [[-1], [-2], [-3], [-4]],
    ]
    assert batch.static_numbers.tolist() == [[1 + ord("c")], [1 + ord("a")]]
    assert batch.static_categories.tolist() == [[3], [1]]
    assert batch.series.tolist() == [2, 0]
    assert batch.observed.tolist() == [2, 2]
    assert {tensor.dtype for tensor in batch} == {torch.float32, torch.int64}


def test_stride(series):
    windows = Windows(series, 2, 2, stride=3)
    assert windows.origins(np.arange(len(windows)))[1].tolist() == [2, 5, 12]


def test_early_windows_repeat_the_first_step(series):
    windows = Windows(series, input_chunk=4, horizon=1, minimum_input=1)
    assert len(windows) == 6 + 2 + 4
    batch = windows.batch([0, 6, 7])
    assert batch.past[:, :, 0].tolist() == [
        [0, 0, 0, 0],
        [100, 100, 100, 100],
        [100, 100, 100, 101],
    ]
    assert batch.target.flatten().tolist() == [1, 101, 102]
    assert batch.observed.tolist() == [1, 1, 2]
    assert batch.future_covariates[2, :, 0].tolist() == [-100, -100, -100, -101, -102]


def test_forecasts_stay_in_their_range_and_inputs_reach_back(series):
    train, test = TimeRange.whole(series).split_last(2)
    assert (train.lengths.tolist(), test.lengths.tolist()) == ([5, 1, 3], [2, 2, 2])
    seen = Windows(series, 2, 1, within=train)
    held_out = Windows(series, 2, 1, within=test)
    assert seen.origins(np.arange(len(seen)))[1].tolist() == [2, 3, 4, 12]
    # The second series has one step before its last two, so one window has too little input.
    assert held_out.origins(np.arange(len(held_out)))[1].tolist() == [5, 6, 9, 13, 14]
    assert held_out.batch([0]).past.flatten().tolist() == [3, 4]


def test_windows_copy_no_series(series):
    windows = Windows(series, 2, 2)
    arrays = [value for value in vars(windows).values() if isinstance(value, np.ndarray)]
    assert sum(array.size for array in arrays) <= 4 * len(series)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_chunk": 0}, "input_chunk is 0: expected at least 1"),
        ({"horizon": 0}, "horizon is 0: expected at least 1"),
        ({"stride": 0}, "stride is 0: expected at least 1"),
        ({"minimum_input": 0}, "minimum_input is 0: expected at least 1"),
        ({"minimum_input": 3}, "minimum_input is 3: expected at most 2"),
        (
            {"horizon": 6},
            "no window fits: 2 steps of input and 6 of horizon in series of at most 7 steps, of "
            "which at most 7 are to be forecast",
        ),
    ],
)
def test_wrong_windows(series, arguments, message):
    with fails(message):
        Windows(series, **{"input_chunk": 2, "horizon": 2, **arguments})


def test_latest_windows(series):
    future = {"f": np.array([[1, 2], [3, 4], [5, 6]])}
    batch = latest_windows(series, 4, future, 2)
    assert batch.past[:, :, 0].tolist() == [
        [3, 4, 5, 6],
        [100, 100, 101, 102],
        [201, 202, 203, 204],
    ]
    assert batch.observed.tolist() == [4, 3, 4]
    assert batch.past_covariates[0].flatten().tolist() == [3.5, 4.5, 5.5, 6.5]
    assert batch.future_covariates[1].flatten().tolist() == [-100, -100, -101, -102, 3, 4]
    assert batch.target.shape == (3, 0, 1)
    assert batch.series.tolist() == [0, 1, 2]
    assert batch.static_categories.tolist() == [[1], [2], [3]]


def test_a_forecast_sees_what_the_last_window_of_training_saw():
    """The window of a known step and the latest window before it are the same."""
    array = np.random.default_rng(3).normal(size=(2, 12, 2))
    whole = series_from_array(array, ("u", "v"))
    shorter = series_from_array(array[:, :9], ("u", "v"))
    windows = Windows(whole, 5, 3, within=TimeRange.whole(whole).split_last(3)[1])
    known = windows.batch(np.arange(len(windows)))
    latest = latest_windows(shorter, 5, read_future(None, shorter, 3), 3)
    for name in ("past", "observed", "past_covariates", "future_covariates", "series"):
        torch.testing.assert_close(getattr(known, name), getattr(latest, name))
    np.testing.assert_array_equal(known.target.numpy(), array[:, 9:].astype(np.float32))


def test_split_share(series):
    train, test = TimeRange.whole(series).split_share(0.4)
    assert (train.lengths.tolist(), test.lengths.tolist()) == ([4, 2, 3], [3, 1, 2])
    assert (train.stop == test.start).all()
    assert TimeRange.whole(series).split_last(4)[0].lengths.tolist() == [3, 0, 1]
    with fails("the last 0 steps: expected at least 1"):
        train.split_last(0)
    with fails("the share to cut off is 1: expected more than 0, less than 1"):
        train.split_share(1)


def hours(count):
    stamps = np.datetime64("2024-01-01", "us") + np.arange(count) * np.timedelta64(1, "h")
    return pl.DataFrame(
        {"unique_id": ["a"] * count, "ds": stamps, "y": np.arange(count, dtype=np.float32)}
    )


def test_ett_ranges():
    with fails("a series of 2 steps: the parts of ETT need 14,400"):
        ett_ranges(read_series(hours(2)))
    parts = ett_ranges(read_series(hours(15_000)))
    month = 30 * 24
    assert [(int(part.start[0]), int(part.stop[0])) for part in parts] == [
        (0, 12 * month),
        (12 * month, 16 * month),
        (16 * month, 20 * month),
    ]


def test_scaler(series):
    train, _ = TimeRange.whole(series).split_last(2)
    scaler = Scaler.fit(series, train, ["y", "f"])
    values = np.array([0, 1, 2, 3, 4, 100, 200, 201, 202], dtype=np.float64)
    assert scaler.mean["y"] == pytest.approx(values.mean())
    assert scaler.scale["y"] == pytest.approx(values.std())
    scaled = scaler.transform(series)
    np.testing.assert_allclose(
        scaled.values["y"], (series.values["y"] - values.mean()) / values.std(), rtol=1e-5
    )
    assert scaled.values["y"].dtype == np.float32
    assert scaled.values["p"] is series.values["p"]
    assert series.values["y"][0] == 0
    np.testing.assert_allclose(
        scaler.inverse("y", scaled.values["y"]), series.values["y"], atol=1e-4
    )
    back = Scaler.from_mapping(json.loads(json.dumps(scaler.to_mapping())))
    assert back == scaler


def test_scaler_of_a_constant_is_one():
    series = series_from_array(np.full((1, 1_000), 0.1))
    assert Scaler.fit(series, TimeRange.whole(series), ["y"]).scale == {"y": 1}


def test_wrong_scalers(series):
    whole = TimeRange.whole(series)
    with fails("no column 'no': expected some of y, p, f"):
        Scaler.fit(series, whole, ["no"])
    with fails("no steps to measure the scale on"):
        Scaler.fit(series, TimeRange(whole.start, whole.start), ["y"])
    for mapping in ({}, {"mean": {"y": 1}, "scale": {"z": 1}}):
        with fails("no scaler: expected `mean` and `scale` of the same columns"):
            Scaler.from_mapping(mapping)
