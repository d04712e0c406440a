"""Long frames of three libraries as series, and every fault of a frame is named."""

import numpy as np
import pandas as pd
import polars as pl
import pytest

from fastlstm.data import (
    Frequency,
    SeriesColumns,
    forecast_frame,
    read_future,
    read_series,
    series_from_array,
    stamped_frame,
)
from series_frames import LIBRARIES, fails, long_frame

ALL = SeriesColumns(past=("p",), future=("f",), static=("kind", "size"))


@pytest.fixture(params=LIBRARIES)
def library(request):
    return LIBRARIES[request.param]


def test_reads_and_sorts(library):
    series = read_series(library(long_frame()), ALL)
    assert series.names == ["b", "a"]
    assert series.offsets.tolist() == [0, 3, 5]
    assert series.lengths.tolist() == [3, 2]
    assert series.frequency == Frequency.parse("D")
    assert series.first.tolist() == np.array(["2024-01-02", "2024-01-01"], "M8[us]").tolist()
    assert series.stamps(0).astype("M8[D]").astype(str).tolist() == [
        *("2024-01-02", "2024-01-03", "2024-01-04")
    ]
    assert {name: values.tolist() for name, values in series.values.items()} == {
        "y": [2, 3, 4, 10, 11],
        "p": np.array([0.2, 0.3, 0.4, 1.0, 1.1], np.float32).tolist(),
        "f": [0, 1, 1, 0, 1],
    }
    assert all(values.dtype == np.float32 for values in series.values.values())
    assert series.static.numbers.tolist() == [[5], [6]]
    assert series.static.categories.tolist() == [[1], [2]]
    assert series.static.known == {"kind": ["x", "z"]}
    assert series.static.number_names == ("size",)


def test_one_series_without_names(library):
    frame = library(pd.DataFrame({"t": [3, 1, 2], "load": [30.0, 10.0, 20.0]}))
    series = read_series(frame, SeriesColumns(None, "t", ("load",)))
    assert series.values["load"].tolist() == [10, 20, 30]
    assert series.future_stamps(2).tolist() == [[4, 5]]
    found = _columns(forecast_frame(series, {"load": np.ones((1, 2))}, 2))
    assert found == {"t": [4, 5], "load": [1, 1]}


def _columns(frame):
    """Any frame as plain lists."""
    if isinstance(frame, pl.DataFrame):
        return frame.to_dict(as_series=False)
    return frame.to_dict("list") if isinstance(frame, pd.DataFrame) else frame.to_pydict()


def test_forecasts_come_in_the_same_library(library):
    frame = library(long_frame())
    series = read_series(frame)
    found = forecast_frame(series, {"y": [[1, 2], [3, 4]], "low": np.zeros((2, 2))}, 2)
    assert type(found) is type(frame)
    columns = _columns(found)
    assert list(columns) == ["unique_id", "ds", "y", "low"]
    assert columns["unique_id"] == ["b", "b", "a", "a"]
    assert [str(stamp)[:10] for stamp in columns["ds"]] == [
        *("2024-01-05", "2024-01-06", "2024-01-03", "2024-01-04")
    ]
    assert columns["y"] == [1, 2, 3, 4]
    other = forecast_frame(series, {"y": np.zeros((2, 1))}, 1, like=pl.DataFrame({"a": [1]}))
    assert isinstance(other, pl.DataFrame)


def test_days_on_a_wall_clock_go_over_a_change_of_time(library):
    days = pd.date_range("2024-03-29", periods=5, freq="D", tz="Europe/Paris")
    frame = library(pd.DataFrame({"unique_id": "a", "ds": days, "y": range(5)}))
    series = read_series(frame)
    assert series.frequency == Frequency.parse("D")
    stamp = _columns(forecast_frame(series, {"y": np.ones((1, 1))}, 1))["ds"][0]
    assert str(stamp) == "2024-04-03 00:00:00+02:00"


def test_hours_go_on_over_a_change_of_time(library):
    hours = pd.date_range("2024-03-30 22:00", periods=6, freq="h", tz="Europe/Paris")
    frame = library(pd.DataFrame({"unique_id": "a", "ds": hours, "y": range(6)}))
    series = read_series(frame)
    assert series.frequency == Frequency.parse("h")
    stamp = _columns(forecast_frame(series, {"y": np.ones((1, 1))}, 1))["ds"][0]
    assert str(stamp) == "2024-03-31 05:00:00+02:00"


def test_dates_stay_dates():
    frame = pl.from_pandas(long_frame()).with_columns(pl.col("ds").cast(pl.Date))
    found = forecast_frame(read_series(frame), {"y": np.ones((2, 1))}, 1)
    assert found.schema["ds"] == pl.Date


def test_text_and_categories():
    frame = pl.from_pandas(long_frame()).with_columns(
        pl.col("ds").dt.strftime("%Y-%m-%d"), pl.col("unique_id").cast(pl.Categorical)
    )
    series = read_series(frame)
    assert series.names == ["b", "a"]
    assert series.values["y"].tolist() == [2, 3, 4, 10, 11]
    months = pl.DataFrame({"unique_id": "a", "ds": ["2024-01", "2024-02"], "y": [1.0, 2.0]})
    assert read_series(months).frequency == Frequency.parse("MS")


NAN = float("nan")


@pytest.mark.parametrize(
    ("fill", "y", "p"),
    [
        ("forward", [1, 1, 1, 4, 4, 7, 7], [2, 2, 2, 2, 5, 8, 9]),
        ("linear", [1, 2, 3, 4, 4, 7, 7], [2, 2, 3, 4, 5, 8, 9]),
        ("zero", [1, 0, 0, 4, 0, 7, 0], [2, 2, 2, 2, 5, 8, 9]),
    ],
)
def test_fill(library, fill, y, p):
    frame = library(
        pd.DataFrame(
            {
                "unique_id": ["a"] * 4 + ["b"] * 2,
                "ds": [0, 1, 3, 4, 0, 1],
                "y": [1, NAN, 4, NAN, 7, NAN],
                "p": [NAN, 2, NAN, 5, 8, 9],
            }
        )
    )
    series = read_series(frame, SeriesColumns(past=("p",)), frequency="1", fill=fill)
    assert series.values["y"].tolist() == y
    assert series.values["p"].tolist() == p


def test_nothing_to_fill_with():
    frame = pl.DataFrame({"unique_id": list("aabb"), "ds": [0, 1] * 2, "y": [1, 2, None, None]})
    with fails(
        "column 'y' has no value in all of the series: nothing to fill series 'b' at 0 with"
    ):
        read_series(frame, fill="linear")


def test_the_frame_is_left_alone():
    values = np.array([1, NAN, 3], dtype=np.float32)
    frame = pd.DataFrame({"unique_id": "a", "ds": [0, 1, 2], "y": values})
    read_series(frame, fill="zero")
    assert np.isnan(frame["y"][1])


def test_static_frame(library):
    static = library(
        pd.DataFrame({"unique_id": ["a", "no", "b"], "kind": ["z", "w", "y"], "size": [6, 0, 5]})
    )
    columns = SeriesColumns(static=("kind", "size"))
    frame = library(long_frame().drop(columns=["kind", "size"]))
    series = read_series(frame, columns, static_frame=static)
    assert series.static.numbers.tolist() == [[5], [6]]
    assert series.static.known == {"kind": ["w", "y", "z"]}
    assert series.static.categories.tolist() == [[2], [3]]
    known = {"kind": ["z", "q"]}
    seen = read_series(frame, columns, static_frame=static, known_categories=known)
    assert seen.static.categories.tolist() == [[0], [1]]
    assert seen.static.known == known


def test_future(library):
    series = read_series(library(long_frame()), SeriesColumns(future=("f",)))
    series = series.with_calendar(["weekday"])
    assert series.future_names == ("f", "weekday_sin", "weekday_cos")
    ahead = pd.DataFrame(
        {
            "unique_id": ["a", "b", "new", "a", "b", "a", "b"],
            "ds": pd.to_datetime([f"2024-01-0{day}" for day in (4, 5, 5, 3, 6, 5, 4)]),
            "f": [4.0, 5, 9, 3, 6, 9, 9],
        }
    )
    found = read_future(library(ahead), series, 2)
    assert found["f"].tolist() == [[5, 6], [3, 4]]
    # 2024-01-05 was a Friday: day 4 of the week.
    assert found["weekday_sin"][0, 0] == pytest.approx(np.sin(2 * np.pi * 4 / 7), abs=1e-6)
    assert found["weekday_sin"].shape == (2, 2)
    with fails(
        "future covariate 'f' is missing for series 'b' at 2024-01-07: expected a number for each "
        "of the 3 steps from 2024-01-05"
    ):
        read_future(library(ahead), series, 3)
    with fails("forecasts need the future of f: expected a frame of it"):
        read_future(None, series, 2)
    only_calendar = read_series(library(long_frame())).with_calendar(["month"])
    assert list(read_future(None, only_calendar, 2)) == ["month_sin", "month_cos"]


def test_calendar_of_each_series():
    series = read_series(long_frame(), SeriesColumns(future=("f",))).with_calendar(["weekday"])
    assert list(series.values) == ["y", "f"]  # the calendar is not kept for each row
    found = series.known_ahead(np.array([0, 0, 0, 1, 1]), np.arange(5))
    # Tuesday to Thursday, then Monday and Tuesday.
    shares = np.array([1, 2, 3, 0, 1]) / 7
    np.testing.assert_array_equal(found[:, 0], series.values["f"])
    np.testing.assert_allclose(found[:, 1], np.sin(2 * np.pi * shares), atol=1e-6)
    np.testing.assert_allclose(found[:, 2], np.cos(2 * np.pi * shares), atol=1e-6)
    # Behind the end of a series, and for several rows of each.
    ahead = read_series(long_frame()).with_calendar(["weekday"])
    found = ahead.known_ahead(np.array([[0], [1]]), np.array([[2, 3], [4, 5]]))
    shares = np.array([[3, 4], [1, 2]]) / 7
    np.testing.assert_allclose(found[..., 0], np.sin(2 * np.pi * shares), atol=1e-6)
    with fails("column 'month_sin' has the name of a calendar feature: rename it"):
        read_series(
            long_frame().rename(columns={"p": "month_sin"}), SeriesColumns(past=("month_sin",))
        ).with_calendar(["month"])


@pytest.mark.parametrize(
    ("shape", "count", "steps", "names"),
    [((5,), 1, 5, ("y",)), ((3, 5), 3, 5, ("y",)), ((3, 5, 2), 3, 5, ("u", "v"))],
)
def test_arrays(shape, count, steps, names):
    values = np.arange(np.prod(shape)).reshape(shape)
    series = series_from_array(values, names)
    assert (len(series), series.lengths.tolist()) == (count, [steps] * count)
    full = values.reshape(count, steps, len(names))
    for channel, name in enumerate(names):
        assert series.values[name].tolist() == full[:, :, channel].ravel().tolist()
    assert series.future_stamps(2).tolist() == [[steps, steps + 1]] * count


def test_parts_of_series():
    series = read_series(long_frame(), ALL)
    assert series.last(2).offsets.tolist() == [0, 2, 4]
    assert series.last(2).values["y"].tolist() == [3, 4, 10, 11]
    assert series.last(2).stamps(0).tolist() == series.stamps(0)[1:].tolist()
    assert series.last(9).values["y"].tolist() == series.values["y"].tolist()
    first = series.without_last(1)
    assert first.values["y"].tolist() == [2, 3, 10]
    assert first.stamps(0).tolist() == series.stamps(0)[:2].tolist()
    with fails("series 'a' has 2 steps: expected more than the 2 that are cut off"):
        series.without_last(2)
    chosen = series.select(np.array([1]))
    assert (chosen.names, chosen.values["y"].tolist()) == (["a"], [10, 11])
    assert chosen.stamps(0).tolist() == series.stamps(1).tolist()
    assert chosen.static.numbers.tolist() == [[6]]
    assert chosen.static.categories.tolist() == series.static.categories[1:].tolist()


def test_months_are_cut_where_the_day_is_known():
    stamps = [pd.Timestamp("2000-01-30") + pd.DateOffset(months=month) for month in range(16)]
    series = read_series(pd.DataFrame({"unique_id": 0, "ds": stamps, "y": range(16)}))
    last = series.last(3)  # from a February
    assert last.stamps(0).tolist() == series.stamps(0)[-4:].tolist()
    assert last.future_stamps(2).tolist() == series.future_stamps(2).tolist()


def test_gaps_of_arrays_are_filled():
    found = series_from_array([[1, np.nan, 3], [np.nan, 5, 6]], fill="linear")
    assert found.values["y"].tolist() == [1, 2, 3, 5, 5, 6]


def test_stamped_frames(library):
    series = read_series(library(long_frame()))
    times = {"ds": series.future_stamps(2), "cutoff": series.future_stamps(2)}
    frame = stamped_frame(series, times, {"z": np.arange(4.0).reshape(2, 2)})
    assert type(frame) is type(library(long_frame()))
    columns = frame.column_names if hasattr(frame, "column_names") else list(frame.columns)
    assert columns == ["unique_id", "ds", "cutoff", "z"]
