"""JSON Lines as tables: an object a line."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastlstm.data.errors import DataError
from fastlstm.data.plain_text import not_utf8

if TYPE_CHECKING:
    import pyarrow as pa

# As for CSV: small blocks keep the memory of reading small, and a longer line makes them grow.
_BLOCK_BYTES = 2**18
_LONGEST_LINE_BYTES = 2**28
# `/[]` stands for each list that the value is in.
_CHANGED = re.compile(r"Column\(/(.*?)((?:/\[\])*)\) changed from (\w+) to (\w+)")


def read_json_lines(path: Path) -> "pa.Table":
    """Read all of a file; its keys become columns, lists become lists.

    Raises:
        DataError: a line is no JSON object or not UTF-8, or a value is of another kind than those
            before it; the message names the line.
    """
    import pyarrow as pa
    import pyarrow.json

    block_bytes = _BLOCK_BYTES
    while True:
        options = pyarrow.json.ReadOptions(use_threads=False, block_size=block_bytes)
        try:
            table = pyarrow.json.read_json(
                path, read_options=options, memory_pool=pa.system_memory_pool()
            )
            _ = table.column_names
            table.validate(full=True)  # Arrow reads texts that are not UTF-8 all the same
            return table
        except (pa.ArrowInvalid, OSError, UnicodeDecodeError) as error:
            if "straddling" in str(error) and block_bytes < _LONGEST_LINE_BYTES:
                block_bytes *= 16
                continue
            raise _line_error(path, error) from error


def _line_error(path: Path, error: Exception) -> DataError:
    """What is wrong in which line. Arrow counts rows block by block: read again to find it."""
    changed = _CHANGED.search(str(error))
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                try:
                    text = line.decode("utf-8-sig" if number == 1 else "utf-8")
                except UnicodeDecodeError:
                    return not_utf8(f"{path}, line {number}")
                try:
                    value = json.loads(text if text.strip() else "{}")
                except ValueError as wrong:
                    if "\0" in text:
                        return not_utf8(f"{path}, line {number}")
                    return DataError(f"{path}, line {number}: no JSON: {wrong}")
                if not isinstance(value, dict):
                    kind = type(value).__name__
                    return DataError(f"{path}, line {number}: a {kind}: expected a JSON object")
                if changed and (found := _other_kind(value, changed)):
                    return DataError(f"{path}, column {changed[1]!r}, line {number}: {found}")
    except OSError as unreadable:
        return DataError(f"cannot read {path}: {unreadable.strerror}")
    return DataError(f"cannot read {path}: {error}")


def _other_kind(value: dict[str, Any], changed: re.Match[str]) -> str | None:
    """What is said of a value of the kind that Arrow did not expect, if the object has one."""
    values: Iterator[Any] = iter([value.get(changed[1])])
    for _ in range(changed[2].count("/[]")):
        values = (item for items in values if isinstance(items, list) for item in items)
    for item in values:
        if _kind(item) == changed[4]:
            article = "an" if changed[3][0] in "ao" else "a"
            return f"{json.dumps(item):.40} where {article} {changed[3]} stood before"
    return None


def _kind(value: Any) -> str:
    """As Arrow calls them."""
    kinds = {bool: "boolean", str: "string", list: "array", dict: "object", type(None): "null"}
    return kinds.get(type(value), "number")
