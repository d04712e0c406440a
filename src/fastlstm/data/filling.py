"""Steps that are missing: found, named, and filled only as the user says."""

from typing import Literal, get_args

import numpy as np

from fastlstm.data.errors import DataError

Fill = Literal["error", "forward", "linear", "zero"]


def check_fill(fill: str) -> None:
    """Refuse an unknown way to fill.

    Raises:
        DataError: it is none of `Fill`.
    """
    if fill not in get_args(Fill):
        raise DataError(f"fill is {fill!r}: expected one of {', '.join(get_args(Fill))}")


def fill_missing(values: np.ndarray, offsets: np.ndarray, fill: Fill) -> int | None:
    """Replace NaN in place, series by series.

    Args:
        values: float32 `(S,)`.
        offsets: int64 `(N + 1,)`: where each series begins.
        fill: `forward` repeats the last value; `linear` draws a line between two neighbours and
            repeats the last value behind the last one; both take the first value for what is
            before it. `zero` writes 0. `error` changes nothing.

    Returns:
        A row that stays missing, or None: any with `error`, else one of a series that has no value
        at all.
    """
    missing = np.isnan(values)
    if not missing.any():
        return None
    if fill == "error":
        return int(missing.argmax())
    if fill == "zero":
        values[missing] = 0
        return None
    starts = np.flatnonzero(np.logical_or.reduceat(missing, offsets[:-1]))
    for series in starts:
        part = slice(offsets[series], offsets[series + 1])
        known = np.flatnonzero(~missing[part])
        if len(known) == 0:
            return int(offsets[series])
        steps = np.arange(offsets[series + 1] - offsets[series])
        if fill == "linear":
            values[part] = np.interp(steps, known, values[part][known])
        else:
            last = np.searchsorted(known, steps, side="right") - 1
            values[part] = values[part][known[np.maximum(last, 0)]]
    return None
