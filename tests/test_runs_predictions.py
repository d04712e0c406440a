"""How predictions are written."""

from datetime import datetime, timezone
from pathlib import Path

import pyarrow as pa

from fastlstm.runs.predictions import encoded


def test_times_are_written_as_short_as_they_are() -> None:
    whole, half = datetime(2025, 3, 25, 8), datetime(2025, 3, 25, 8, 0, 0, 500_000)
    table = pa.table(
        {
            "whole": pa.array([whole, None], pa.timestamp("us")),
            "zone": pa.array([whole.replace(tzinfo=timezone.utc)] * 2, pa.timestamp("ns", "UTC")),
            "half": pa.array([whole, half], pa.timestamp("ms")),
            "LSTM": [1.5, 2.0],
        }
    )
    lines = encoded(table, Path("out.csv")).decode().splitlines()
    assert lines[1:] == [
        "2025-03-25 08:00:00,2025-03-25 08:00:00Z,2025-03-25 08:00:00.000,1.5",
        ",2025-03-25 08:00:00Z,2025-03-25 08:00:00.500,2",
    ]
