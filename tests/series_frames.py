"""Long frames in three libraries, for the tests of series."""

import re

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from fastlstm.data import DataError

LIBRARIES = {
    "pandas": lambda data: data,
    "polars": pl.from_pandas,
    "pyarrow": lambda data: pa.Table.from_pandas(data, preserve_index=False),
}


def fails(message):
    return pytest.raises(DataError, match=f"^{re.escape(message)}$")


def long_frame():
    """Series b of days 2 to 4 and a of days 1 to 2, unsorted."""
    days = ["2024-01-03", "2024-01-01", "2024-01-02", "2024-01-02", "2024-01-04"]
    return pd.DataFrame(
        {
            "unique_id": ["b", "a", "a", "b", "b"],
            "ds": pd.to_datetime(days),
            "y": [3, 10, 11, 2, 4],
            "p": [0.3, 1.0, 1.1, 0.2, 0.4],
            "f": [True, False, True, False, True],
            "kind": ["x", "z", "z", "x", "x"],
            "size": [5, 6, 6, 5, 5],
            "more": ["?"] * 5,
        }
    )
