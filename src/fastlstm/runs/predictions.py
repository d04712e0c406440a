"""Predict a file, and write what was predicted in the format that the output's name asks for."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastlstm.atomic import write_atomically
from fastlstm.runs.errors import RunError
from fastlstm.runs.run import Run

if TYPE_CHECKING:
    import pyarrow as pa


def predict(run: Run, file: Path, output: Path) -> int:
    """Predict a file and write the predictions, whole or not at all.

    Args:
        run: a trained run.
        file: of the form that the run's data had; the columns to predict need not be there.
        output: `.csv`, `.tsv`, `.parquet`, `.jsonl`, `.ndjson`, or `.txt` for the predictions
            alone, one a line.

    Returns:
        The number of rows written.

    Raises:
        RunError: the output has another ending, is the input, or cannot be written.
        DataError: the file cannot be read.
        RunFolderError: nothing was trained in the run.
    """
    check_output_file(output)
    if output.absolute() == file.absolute():
        raise RunError(f"{output} is the file to predict: expected another to write to")
    table = predict_table(run, file)
    try:
        write_atomically(output, encoded(table, output))
    except OSError as error:
        raise RunError(f"cannot write {output}: {error.strerror}") from error
    return len(table)


def predict_table(run: Run, file: Path) -> pa.Table:
    """What `predict` writes, as an Arrow table."""
    if not file.exists():
        raise RunError(f"{file} does not exist: expected a file or a folder to predict")
    return run.task.predict(run.load(), run.data, file)


def check_output_file(output: Path) -> None:
    """Raise, before anything slow is done, unless predictions can be written under a name.

    Raises:
        RunError: it has another ending than those of `predict`, or there is no such folder.
    """
    if output.suffix.lower() not in _WRITERS:
        raise RunError(f"cannot write {output}: expected one of {', '.join(_WRITERS)}")
    if not output.absolute().parent.is_dir():
        raise RunError(f"cannot write {output}: there is no folder {output.parent}")


def encoded(table: pa.Table, output: Path) -> bytes:
    """The content of a file of that name."""
    return _WRITERS[output.suffix.lower()](table)


def _csv(table: pa.Table, delimiter: str = ",") -> bytes:
    import pyarrow as pa
    import pyarrow.csv

    for place, field in enumerate(table.schema):
        if pa.types.is_nested(field.type):  # CSV has no lists: they stand there as JSON
            rows = table.column(place).to_pylist()
            texts = [None if row is None else json.dumps(row, default=str) for row in rows]
            table = table.set_column(place, field.name, pa.array(texts, pa.string()))
    stream = io.BytesIO()
    options = pyarrow.csv.WriteOptions(delimiter=delimiter, quoting_style="needed")
    pyarrow.csv.write_csv(_without_empty_fractions(table), stream, options)
    return stream.getvalue()


def _without_empty_fractions(table: pa.Table) -> pa.Table:
    """Times in whole seconds where they are such: `08:00:00` and not `08:00:00.000000`."""
    import pyarrow as pa

    for place, field in enumerate(table.schema):
        if pa.types.is_timestamp(field.type):
            with suppress(pa.ArrowInvalid):  # a time that has a fraction of a second
                seconds = table.column(place).cast(pa.timestamp("s", field.type.tz))
                table = table.set_column(place, field.name, seconds)
    return table


def _tsv(table: pa.Table) -> bytes:
    return _csv(table, "\t")


def _parquet(table: pa.Table) -> bytes:
    import pyarrow.parquet

    stream = io.BytesIO()
    pyarrow.parquet.write_table(table, stream)
    return stream.getvalue()


def _json_lines(table: pa.Table) -> bytes:
    lines = [json.dumps(row, ensure_ascii=False, default=str) for row in table.to_pylist()]
    return "".join(f"{line}\n" for line in lines).encode()


def _lines(table: pa.Table) -> bytes:
    """The first column of predictions, one a line: what stands beside a plain text file."""
    names = [name for name in table.column_names if name.startswith("prediction")]
    if len(names) != 1:
        raise RunError(
            f".txt holds one prediction a line, and there are {len(names)}: expected .csv, "
            f".parquet or .jsonl"
        )
    return "".join(f"{value}\n" for value in table.column(names[0]).to_pylist()).encode()


_WRITERS: Mapping[str, Callable[[Any], bytes]] = {
    ".csv": _csv,
    ".tsv": _tsv,
    ".parquet": _parquet,
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".txt": _lines,
}
