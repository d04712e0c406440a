"""A column of texts that is not a million Python strings at once, and takes half their memory."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, overload

import numpy as np

from fastlstm.data.errors import DataError
from fastlstm.data.tables import release_memory

if TYPE_CHECKING:
    import pyarrow as pa

# Texts that are compressed, and taken out, together.
_AT_ONCE = 8192


class TextColumn(Sequence[str]):
    """The texts of an Arrow column, compressed; each becomes a string when it is asked for.

    Args:
        chunks: of the column; none of its texts null. They are taken out of the list one by one, so
            that what nobody else holds is never there twice.
        shown: what errors call it.

    Raises:
        DataError: there is no text, or one is null.
    """

    def __init__(self, chunks: "list[pa.Array]", shown: str) -> None:
        self._pieces: list[bytes] = []
        lengths = []
        while chunks:
            chunk = chunks.pop(0)
            if chunk.null_count:
                row = sum(lengths) + int(np.argmax(chunk.is_null().to_numpy(zero_copy_only=False)))
                raise DataError(f"{shown}: row {row + 1} has no text")
            for first in range(0, len(chunk), _AT_ONCE):
                lengths.append(min(_AT_ONCE, len(chunk) - first))
                self._pieces.append(_packed(chunk[first : first + _AT_ONCE]))
            del chunk
            release_memory()
        count = sum(lengths)
        if count == 0:
            raise DataError(f"{shown} has no rows")
        self._ends = np.cumsum(lengths)
        self._places = np.arange(count, dtype=np.min_scalar_type(count))

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return self._at(self._places[index])
        return self._at(self._places[index : index + 1 or None])[0]

    def __iter__(self) -> Iterator[str]:
        for first in range(0, len(self), _AT_ONCE):
            yield from self[first : first + _AT_ONCE]

    def _at(self, places: np.ndarray) -> list[str]:
        """The texts of some rows of the column."""
        import pyarrow as pa

        found = np.empty(len(places), dtype=object)
        of_place = np.searchsorted(self._ends, places, side="right")
        for number in np.unique(of_place).tolist():
            here = of_place == number
            piece = _unpacked(self._pieces[number])
            rows = places[here] - (self._ends[number] - len(piece))
            found[here] = piece.take(pa.array(rows)).to_pylist()
        return found.tolist()

    def select(self, indices: np.ndarray) -> "TextColumn":
        """Some of the texts; they are not copied."""
        chosen = object.__new__(TextColumn)
        chosen._pieces, chosen._ends = self._pieces, self._ends
        chosen._places = self._places[indices]
        return chosen


def _packed(piece: "pa.Array") -> bytes:
    import pyarrow as pa

    batch = pa.record_batch([piece], names=["text"])
    # Its lowest level takes least time, and on texts hardly more memory than the others.
    compression = pa.Codec("zstd", compression_level=1)
    options = pa.ipc.IpcWriteOptions(compression=compression, use_threads=False)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema, options=options) as writer:
        writer.write_batch(batch)
    return sink.getvalue().to_pybytes()  # Arrow's own buffer has room for twice as much


def _unpacked(packed: bytes) -> "pa.Array":
    import pyarrow as pa

    options = pa.ipc.IpcReadOptions(use_threads=False)
    with pa.ipc.open_stream(packed, options=options) as reader:
        return reader.read_next_batch().column(0)
