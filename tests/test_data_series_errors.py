"""Frames and arrays that are no series: each fault is named, with its series and time."""

import numpy as np
import pandas as pd
import polars as pl
import pytest

from fastlstm.data import SeriesColumns, read_series, series_from_array
from series_frames import fails, long_frame

ALL = SeriesColumns(past=("p",), future=("f",), static=("kind", "size"))


def with_cell(column, row, value):
    frame = long_frame()
    frame[column] = frame[column].astype(object)
    frame.loc[row, column] = value
    return frame.infer_objects()


def changed(**columns):
    return long_frame().assign(**columns)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (
            long_frame().drop(columns="ds"),
            "the frame has no column 'ds': it has unique_id, y, p, f, kind, size, more",
        ),
        (long_frame().head(0), "the frame has no rows"),
        (changed(y=list("abcde")), "column 'y' holds String: expected numbers"),
        (changed(ds=1.5), "column 'ds' holds Float64: expected dates, times, text or integers"),
        (
            changed(ds=["2024-01-01", "soon", "", "", ""]),
            "column 'ds', row 1: cannot read 'soon' as a time: expected ISO 8601 "
            "such as 2024-01-31 or 2024-01-31 13:45",
        ),
        (with_cell("unique_id", 2, None), "column 'unique_id' is missing in row 2"),
        (with_cell("ds", 3, pd.NaT), "column 'ds' is missing in row 3"),
        (
            with_cell("y", 4, float("nan")),
            "column 'y' is missing in series 'b' at 2024-01-04: complete the data, "
            "or choose fill='forward', 'linear' or 'zero'",
        ),
        (
            with_cell("p", 1, float("inf")),
            "column 'p' is inf in series 'a' at 2024-01-01: expected finite numbers",
        ),
        (
            long_frame().drop(index=0),
            "no row for series 'b' at 2024-01-03, and 1 missing in all (1 day "
            "between steps): complete the data, or choose fill='forward', 'linear' "
            "or 'zero'",
        ),
        (
            with_cell("ds", 4, pd.Timestamp("2024-01-03")),
            "series 'b' has two rows for 2024-01-03, and 1 such in all",
        ),
        (
            with_cell("ds", 4, pd.Timestamp("2024-01-04 01:30")),
            "series 'b': 2024-01-04 01:30:00 is not a whole number of steps (1 "
            "day) after 2024-01-02: give `frequency`, or resample the data",
        ),
        (
            changed(kind=list("xzzxy")),
            "static column 'kind' changes within series 'b': expected one value",
        ),
        (
            changed(size=[5, 6, 7, 5, 5]),
            "static column 'size' changes within series 'a': expected one value",
        ),
    ],
)
def test_wrong_frames(frame, message):
    if "2024-01-03, and 1 missing" in message:
        # One more series tells that a step is a day.
        more = long_frame().query("unique_id == 'b'").assign(unique_id="c")
        frame = pd.concat([frame, more])
    with fails(message):
        read_series(frame, ALL)


def test_wrong_arguments():
    with fails("a dict: expected a data frame of pandas, Polars or pyarrow"):
        read_series({"y": [1]})
    with fails("fill is 'mean': expected one of error, forward, linear, zero"):
        read_series(long_frame(), fill="mean")
    with fails("column 'y' is given two roles"):
        SeriesColumns(past=("y",))
    with fails("no target column: expected at least one"):
        SeriesColumns(targets=())
    with fails("a frequency of 1 step does not fit time stamps that are dates"):
        read_series(long_frame(), frequency="1")
    assert read_series(long_frame(), frequency="12h", fill="zero").lengths.tolist() == [5, 3]


def test_wrong_static_frames():
    frame, columns = long_frame(), SeriesColumns(static=("kind",))
    with fails("the frame of static covariates has no row for series 'b'"):
        read_series(frame, columns, static_frame=pl.DataFrame({"unique_id": ["a"], "kind": ["z"]}))
    twice = pl.DataFrame({"unique_id": ["a", "b", "a"], "kind": ["z", "y", "z"]})
    with fails("the frame of static covariates has two rows for 'a'"):
        read_series(frame, columns, static_frame=twice)
    with fails("static column 'kind' holds text: in training it held numbers"):
        read_series(frame, columns, known_categories={})
    with fails("static column 'size' is missing in series 'b'"):
        sizes = pl.DataFrame({"unique_id": ["a", "b"], "size": [1.0, None]})
        read_series(frame, SeriesColumns(static=("size",)), static_frame=sizes)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            np.zeros((2, 2, 2, 2)),
            "an array of shape (2, 2, 2, 2): expected (T,), (N, T) or (N, T, C)",
        ),
        ([], "an array of shape (0,): expected (T,), (N, T) or (N, T, C)"),
        (["a"], "an array of <U1: expected numbers"),
        (
            [[1, 2], [3, np.nan]],
            "'y' is nan at step 1 of series 1: expected numbers only, or fill='forward', 'linear' "
            "or 'zero'",
        ),
        ([[1, 2], [3, np.inf]], "'y' is inf at step 1 of series 1: expected numbers only"),
        (np.zeros((2, 3, 2)), "2 targets in an array of shape (2, 3, 2): got names ('y',)"),
    ],
)
def test_wrong_arrays(values, message):
    with fails(message):
        series_from_array(values)
