"""A column of texts that is not a million Python strings at once."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, overload

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
        if len(column) == 0:
            raise DataError(f"{shown} has no rows")
        if column.null_count:
            row = int(np.argmax(column.is_null().to_numpy()))
            raise DataError(f"{shown}: row {row + 1} has no text")
        # As they were read: one piece would be a second copy of all texts.
        self._chunks = column.chunks
        self._ends = np.cumsum([len(chunk) for chunk in self._chunks])
        self._places = np.arange(len(column), dtype=np.min_scalar_type(len(column)))

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
            chunk = self._chunks[number]
            rows = places[here] - (self._ends[number] - len(chunk))
            found[here] = chunk.take(pa.array(rows)).to_pylist()
        return found.tolist()

    def select(self, indices: np.ndarray) -> "TextColumn":
        """Some of the texts; they are not copied."""
        chosen = object.__new__(TextColumn)
        chosen._chunks, chosen._ends = self._chunks, self._ends
        chosen._places = self._places[indices]
        return chosen
