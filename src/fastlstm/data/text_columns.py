"""A column of texts that is not a million Python strings at once."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from fastlstm.data.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

_AT_ONCE = 8192


class TextColumn(Sequence[str]):
    """The texts of an Arrow column; each becomes a string when it is asked for.

    Args:
        column: of text; none of it null.
        shown: what errors call it.

    Raises:
        DataError: there is no text, or one is null.
    """

    def __init__(self, column: "pa.ChunkedArray", shown: str) -> None:
        import pyarrow as pa

        if len(column) == 0:
            raise DataError(f"{shown} has no rows")
        if column.null_count:
            row = int(np.argmax(column.is_null().to_numpy()))
            raise DataError(f"{shown}: row {row + 1} has no text")
        # One piece, so that a text is found by its number; the small offsets end at 2 GiB.
        whole = column.cast(pa.large_string()) if column.nbytes >= 2**31 else column
        joined: Any = whole.combine_chunks()
        self._texts = joined.chunk(0) if isinstance(joined, pa.ChunkedArray) else joined
        self._places = np.arange(len(column))

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return self._texts.take(self._places[index]).to_pylist()
        return self._texts[int(self._places[index])].as_py()

    def __iter__(self) -> Iterator[str]:
        for first in range(0, len(self), _AT_ONCE):
            yield from self[first : first + _AT_ONCE]

    def select(self, indices: np.ndarray) -> "TextColumn":
        """Some of the texts; they are not copied."""
        chosen = object.__new__(TextColumn)
        chosen._texts = self._texts
        chosen._places = self._places[indices]
        return chosen
