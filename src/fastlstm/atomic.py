"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def replacing(path: str | Path) -> Iterator[BinaryIO]:
    """Open a stream whose content is moved to `path` when its block ends without an error.

    Until then what stood there before stays. The content waits beside its place, in a hidden file
    of one fixed name: what a killed process leaves behind the next one writes over.

    Raises:
        OSError: the disk refuses; nothing has changed.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as stream:
            yield stream
            stream.flush()
            # Without this the move can reach the disk before the content does.
            os.fsync(stream.fileno())
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_atomically(path: str | Path, content: bytes | str) -> None:
    """Write a file over what may be there; text as UTF-8 with the line ends that it has.

    Raises:
        OSError: the disk refuses; nothing has changed.
    """
    with replacing(path) as stream:
        stream.write(content.encode("utf-8") if isinstance(content, str) else content)
