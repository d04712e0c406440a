"""The user's own file, by the names of its columns: CSV, TSV, Parquet and JSON Lines.

CSV is read in blocks and integers are kept as small as they fit, so that what stays in memory is
at most about the size of the file. pyarrow rather than Polars: its errors name the row, and a line
with too few fields is one.
"""

import ctypes
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastlstm.data.column_names import check_columns
from fastlstm.data.errors import DataError
from fastlstm.data.json_lines import read_json_lines
from fastlstm.data.plain_text import not_utf8

if TYPE_CHECKING:
    import pyarrow as pa

_SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet", ".jsonl", ".ndjson")
# Small blocks keep the memory of reading small; a longer line makes them grow.
_BLOCK_BYTES = 2**18
_LONGEST_LINE_BYTES = 2**28
_BLOCKS_TOGETHER = 16
_COLUMN_ERROR = re.compile(r"In CSV column #(\d+): (?:Row #(\d+): )?(.*)", re.DOTALL)
_ROW_ERROR = re.compile(r"CSV parse error: Row #(\d+): (.*)", re.DOTALL)
_GZIP_ERROR = re.compile("zlib inflate failed|Truncated compressed stream")
_INVALID_VALUE = re.compile(r"invalid value '(.*)'", re.DOTALL)


def read_table(
    path: str | Path,
    columns: Sequence[str] | None = None,
    numbers: Sequence[str] = (),
    texts: Sequence[str] = (),
    *,
    single: bool = False,
    lists: bool = False,
) -> "pa.Table":
    """Read some columns of a file; its suffix says how.

    Args:
        path: `.csv`, `.tsv` (both may be `.gz`), `.parquet`, `.jsonl` or `.ndjson`, in small
            letters or capitals. The sign that separates the columns of a CSV file is a comma,
            semicolon or tab: the one that its first line has most of.
        columns: which ones, in this order; None for all. `numbers` and `texts` are read too.
        numbers: columns that must hold numbers: they become float64; empty ones are null.
        texts: columns that must stay text, such as names that look like numbers.
        single: whether other columns of numbers become float32, which is half the memory.
        lists: whether `texts` may hold lists, which become lists of texts.

    Returns:
        An Arrow table. Of other columns the type is found out: integers, numbers, dates, booleans,
        else text.

    Raises:
        DataError: the file is missing, of another kind or damaged, a column is not there, or a
            value is no number; the message names the file, the column and the line.
    """
    path = Path(path)
    name = path.name.lower()
    if not name.endswith(_SUFFIXES):
        raise DataError(f"cannot read {path}: expected one of {', '.join(_SUFFIXES)}")
    if not path.is_file():
        raise DataError(f"{path} does not exist" if not path.exists() else f"{path} is no file")
    wanted = None if columns is None else list(dict.fromkeys([*columns, *numbers, *texts]))
    if name.endswith((".parquet", ".jsonl", ".ndjson")):
        table = _read_parquet(path, wanted) if name.endswith(".parquet") else read_json_lines(path)
        check_columns(path, [*(wanted or ()), *numbers, *texts], table.column_names)
        if wanted is not None:
            table = table.select(wanted)
        table = _with_types(path, table, numbers, texts, lists)
        return _halved(table, numbers) if single else table
    return read_csv(path, str(path), wanted, numbers, texts, single=single)


def read_csv(
    source: Any,
    shown: str,
    columns: Sequence[str] | None = None,
    numbers: Sequence[str] = (),
    texts: Sequence[str] = (),
    *,
    single: bool = False,
) -> "pa.Table":
    """Read a CSV file, or one in memory.

    Args:
        source: a path or bytes.
        shown: what errors call it.
        columns: as for `read_table`, `numbers` and `texts` among them.
        numbers: as for `read_table`.
        texts: as for `read_table`.
        single: as for `read_table`.

    Raises:
        DataError: as for `read_table`.
    """
    import pyarrow as pa

    content = pa.py_buffer(source) if isinstance(source, bytes) else source
    delimiter, names = _header(content, shown)
    check_columns(shown, [*(columns or ()), *numbers, *texts], names)
    types = {name: pa.float64() for name in numbers} | {name: pa.string() for name in texts}
    fixed = {*numbers, *texts}
    keep = fixed if single else None
    block_bytes = _BLOCK_BYTES
    # The first block tells the types. Where a later one does not fit, the column becomes wider.
    while True:
        try:
            return _read_blocks(_opened(content), delimiter, columns, types, block_bytes, keep)
        except (pa.ArrowInvalid, OSError) as error:
            if "straddling" in str(error) and block_bytes < _LONGEST_LINE_BYTES:
                block_bytes *= 16
                continue
            found = _COLUMN_ERROR.match(str(error))
            name = names[int(found[1])] if found else ""
            if not found or name in fixed or types.get(name) == pa.string():
                raise _csv_error(shown, name, error) from error
            wider = pa.string() if types.get(name) == pa.float64() else pa.float64()
            types[name] = wider


def _opened(source: Any) -> Any:
    """A stream of a file or of what is in memory; Arrow alone would take `.GZ` for plain text."""
    import pyarrow as pa

    if isinstance(source, pa.Buffer):
        return pa.BufferReader(source)
    packed = str(source).lower().endswith(".gz")
    return pa.input_stream(source, compression="gzip" if packed else None)


def _header(source: Any, shown: str) -> tuple[str, list[str]]:
    """The delimiter and the names of a CSV file."""
    import pyarrow as pa
    import pyarrow.csv

    line = _first_line(source, shown)
    tabs = shown.lower().endswith((".tsv", ".tsv.gz"))
    delimiter = "\t" if tabs else max(",;\t", key=lambda sign: line.count(sign.encode()))
    options = pyarrow.csv.ParseOptions(delimiter=delimiter)
    try:
        names = pyarrow.csv.read_csv(
            pa.BufferReader(line + b"\n"),
            # A process that ends while Arrow starts its threads is aborted, and so is an error.
            read_options=pyarrow.csv.ReadOptions(use_threads=False),
            parse_options=options,
        ).column_names
    except pa.ArrowInvalid as error:
        raise DataError(f"{shown} is empty: expected a line of column names") from error
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{shown} has two columns named {twice[0]!r}")
    return delimiter, names


def _first_line(source: Any, shown: str) -> bytes:
    """The first line of a CSV file, which must be text."""
    start = b""
    try:
        stream = _opened(source)
        while not (b"\n" in start or b"\r" in start) and (more := stream.read(2**16)):
            start += more
    except OSError as error:
        raise _csv_error(shown, "", error) from error
    line = start.splitlines()[0] if start else b""
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        raise not_utf8(f"{shown}, line 1") from error
    if "\0" in text:  # half of each letter in UTF-16
        raise not_utf8(f"{shown}, line 1")
    return line


def _read_blocks(
    source: Any,
    delimiter: str,
    columns: Sequence[str] | None,
    types: dict[str, "pa.DataType"],
    block_bytes: int,
    keep: set[str] | None,
) -> "pa.Table":
    """Read with all types known; numbers become float32 but in the columns to keep, if given."""
    import pyarrow as pa
    import pyarrow.csv

    pool = pa.system_memory_pool()
    reader = pyarrow.csv.open_csv(
        source,
        memory_pool=pool,
        read_options=pyarrow.csv.ReadOptions(use_threads=False, block_size=block_bytes),
        parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=types, include_columns=list(columns) if columns is not None else None
        ),
    )
    # Bytes that are not UTF-8 are found out as binary; as text they are an error with a row.
    for index, field in enumerate(reader.schema):
        if pa.types.is_binary(field.type):
            raise pa.ArrowInvalid(f"In CSV column #{index}: invalid UTF8 data")
    blocks: list[list[pa.Array]] = [[] for _ in reader.schema]
    kinds = [
        pa.float32()
        if keep is not None and field.name not in keep and _is_real(field.type)
        else field.type
        for field in reader.schema
    ]
    for number, batch in enumerate(reader, 1):
        for block, array, kind in zip(blocks, batch.columns, kinds, strict=True):
            block.append(_narrow(array.cast(kind, memory_pool=pool), pool))
            if number % _BLOCKS_TOGETHER == 0:
                _put_together(block, kind, pool)
        if number % _BLOCKS_TOGETHER == 0:
            release_memory()
    arrays = [_joined(block, kind, pool) for block, kind in zip(blocks, kinds, strict=True)]
    release_memory()
    return pa.table(arrays, names=reader.schema.names)


def _put_together(block: "list[pa.Array]", kind: "pa.DataType", pool: "pa.MemoryPool") -> None:
    """Make one array of the latest blocks of a column.

    Small ones of many columns lie between each other: no column could give its memory back alone.
    """
    import pyarrow as pa

    latest = _joined(block[-_BLOCKS_TOGETHER:], kind, pool)
    block[-_BLOCKS_TOGETHER:] = [pa.concat_arrays(latest.chunks, memory_pool=pool)]


def release_memory() -> None:
    """Give what tables no longer need back to the system, rather than keep it for the next one."""
    import pyarrow as pa

    for pool in (pa.system_memory_pool(), pa.default_memory_pool()):
        pool.release_unused()
    if sys.platform == "linux":
        # glibc has it, other C libraries may not. Pages go back at once, wherever they lie: Arrow's
        # own jemalloc keeps most of them until later.
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def _is_real(kind: "pa.DataType") -> bool:
    import pyarrow as pa

    return kind == pa.float64()


def _halved(table: "pa.Table", keep: Sequence[str]) -> "pa.Table":
    import pyarrow as pa

    for index, field in enumerate(table.schema):
        if _is_real(field.type) and field.name not in keep:
            table = table.set_column(index, field.name, table.column(index).cast(pa.float32()))
    return table


def _narrow(array: "pa.Array", pool: "pa.MemoryPool") -> "pa.Array":
    """Integers in the smallest type that holds them."""
    import pyarrow as pa
    from pyarrow import compute

    if array.type != pa.int64():
        return array
    limits = compute.call_function("min_max", [array]).as_py()
    low, high = limits["min"] or 0, limits["max"] or 0
    for bits, narrow in ((8, pa.int8()), (16, pa.int16()), (32, pa.int32())):
        if -(2 ** (bits - 1)) <= low and high < 2 ** (bits - 1):
            return array.cast(narrow, memory_pool=pool)
    return array


def _joined(
    block: "list[pa.Array]", kind: "pa.DataType", pool: "pa.MemoryPool"
) -> "pa.ChunkedArray":
    import pyarrow as pa

    if not block or not pa.types.is_integer(kind):
        return pa.chunked_array(block, type=kind)
    widest = max((array.type for array in block), key=lambda found: found.bit_width)
    return pa.chunked_array([array.cast(widest, memory_pool=pool) for array in block])


def _csv_error(shown: str, name: str, error: Exception) -> DataError:
    message = str(error)
    if _GZIP_ERROR.search(message):
        return DataError(f"{shown} is no complete gzip file: {message}")
    if found := _COLUMN_ERROR.match(message):
        value = _INVALID_VALUE.search(message)
        line = f", line {found[2]}" if found[2] else ""
        if not value and "UTF8" in message:
            return not_utf8(f"{shown}, column {name!r}{line}")
        what = f"{value[1]!r} is no number" if value else found[3].strip()
        return DataError(f"{shown}, column {name!r}{line}: {what}")
    if found := _ROW_ERROR.match(message):
        what = found[2][:1].lower() + found[2][1:]
        return DataError(f"{shown}, line {found[1]}: {what}")
    return DataError(f"cannot read {shown}: {message}")


def _read_parquet(path: Path, columns: Sequence[str] | None) -> "pa.Table":
    import pyarrow as pa
    import pyarrow.parquet

    try:
        names = pyarrow.parquet.read_schema(path).names
        check_columns(path, columns or (), names)
        return pyarrow.parquet.read_table(path, columns=columns)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path} is no complete Parquet file: {error}") from error


def _with_types(
    path: Path, table: "pa.Table", numbers: Sequence[str], texts: Sequence[str], lists: bool
) -> "pa.Table":
    import pyarrow as pa

    kinds = [(name, pa.float64()) for name in numbers] + [(name, pa.string()) for name in texts]
    for name, kind in kinds:
        index = table.column_names.index(name)
        try:
            column = table.column(index)
            listed = lists and kind == pa.string() and pa.types.is_nested(column.type)
            column = column.cast(pa.list_(kind) if listed else kind)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise DataError(_cast_message(path, name, table.column(index), kind)) from error
        table = table.set_column(index, name, column)
    return table


def _cast_message(path: Path, name: str, column: "pa.ChunkedArray", kind: "pa.DataType") -> str:
    import pyarrow as pa

    if kind == pa.float64() and pa.types.is_string(column.type):
        for number, value in enumerate(column, 1):
            try:
                value.cast(kind)
            except pa.ArrowInvalid:
                return f"{path}, column {name!r}, line {number}: {value.as_py()!r} is no number"
    expected = "numbers" if kind == pa.float64() else "text"
    return f"{path}, column {name!r} holds {column.type}: expected {expected}"
