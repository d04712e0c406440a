"""Tables with a row for each sequence, whose columns are lists: of values, and of labels."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fastlstm.data import DataError
from fastlstm.runs.labelled import coded
from fastlstm.runs.list_columns import holds_lists, list_lengths, list_values

if TYPE_CHECKING:
    import pyarrow as pa


def first_row_is_of_numbers(path: Path, labels: Sequence[str]) -> bool:
    """Whether the lists of the first object of JSON Lines hold numbers or vectors, and no words.

    Args:
        path: the file; one that is not there, or damaged, is for its reader to refuse.
        labels: keys that are not looked at.
    """
    try:
        with path.open("rb") as lines:
            first = json.loads(next((line for line in lines if line.strip()), b""))
    except (OSError, ValueError):
        return False
    if not isinstance(first, dict) or "tokens" in first:
        return False
    found = [value for key, value in first.items() if key not in labels and isinstance(value, list)]
    return bool(found) and not any(isinstance(one, str) for items in found for one in items)


def list_steps(
    table: pa.Table, names: Sequence[str], path: Path
) -> tuple[list[np.ndarray], pa.Table]:
    """The vectors of each sequence, and a row for each of their steps.

    Args:
        table: a row for each sequence.
        names: its columns of values, which are lists.
        path: what errors call it.

    Returns:
        N arrays `(T_i, F)`, and a table that has the number of the sequence and of the step, and
        the columns that are no lists.

    Raises:
        DataError: as for `list_values`, or the table has columns `sequence` or `step` already.
    """
    import pyarrow as pa

    values, lengths = list_values({name: table.column(name) for name in names}, path)
    ends = np.cumsum(lengths)
    rows = np.repeat(np.arange(len(lengths)), lengths)
    steps = pa.table(
        {"sequence": rows + 1, "step": np.arange(len(rows)) - (ends - lengths)[rows] + 1}
    )
    for field in table.schema:
        if field.name in steps.column_names:
            raise DataError(f"{path} has a column {field.name!r} already: rename it")
        if not holds_lists(field.type):
            steps = steps.append_column(field.name, table.column(field.name).take(pa.array(rows)))
    return np.split(values, ends[:-1]), steps


def list_labels(
    table: pa.Table, target: str, lengths: Sequence[int], path: Path
) -> list[list[str]]:
    """The labels of each sequence, one a step.

    Args:
        table: a row for each sequence.
        target: its column of labels, which are lists of texts.
        lengths: the number of steps of each sequence.
        path: what errors call the table.

    Raises:
        DataError: a row has no list, or one of another length, or a label is missing.
    """
    import pyarrow as pa
    from pyarrow import compute

    where = f"{path}, column {target!r}"
    column = table.column(target)
    if not holds_lists(column.type):
        raise DataError(f"{where} holds a label for each sequence: expected a list, one a step")
    found = list_lengths(column, where)
    if (found != lengths).any():
        row = int(np.argmax(found != lengths))
        raise DataError(
            f"{where}: row {row + 1} has {found[row]} labels for {lengths[row]} steps: expected "
            f"one each"
        )
    ends = np.cumsum(lengths)
    flat = pa.chunked_array([chunk.flatten() for chunk in column.chunks], pa.string())
    trimmed = compute.call_function("utf8_trim_whitespace", [flat])
    blank = compute.call_function("equal", [trimmed, ""]).fill_null(True).to_numpy()
    if blank.any():
        row = int(np.searchsorted(ends, np.argmax(blank), side="right"))
        raise DataError(f"{where}: row {row + 1} lacks a label")
    labels = coded(pa.table({target: flat}), target, str(path))
    of_steps = np.array(labels.classes, object)[labels.codes]
    return [of_row.tolist() for of_row in np.split(of_steps, ends[:-1])]
