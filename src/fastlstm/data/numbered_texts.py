"""Many texts as numbers, in one piece."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
from torch import Tensor

from fastlstm.data.sequences import pad_ids
from fastlstm.data.text import TextEncoder, Units, VocabularyEncoder
from fastlstm.data.vocabulary import Vocabulary

# Texts whose numbers are looked at together.
_AT_ONCE = 65_536


class NumberedTexts:
    """The numbers of the tokens of texts; a list for each text would take ten times the memory.

    Args:
        ids: of all texts, one after the other.
        ends: where each text begins, and behind them where the last one ends.
    """

    def __init__(self, ids: np.ndarray, ends: np.ndarray) -> None:
        self._ids = ids
        self._ends = ends

    @classmethod
    def of(cls, texts: Sequence[str], encoder: TextEncoder) -> NumberedTexts:
        """The numbers that an encoder gives."""
        ids, ends = _in_one_piece(map(encoder.encode, texts), len(texts))
        return cls(_narrow(ids, encoder.size), ends)

    def __len__(self) -> int:
        return len(self._ends) - 1

    @property
    def lengths(self) -> list[int]:
        """The number of tokens of each."""
        return np.diff(self._ends).tolist()

    def batch(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Some of the texts as ids (B, T), and their lengths (B)."""
        starts, ends = self._ends[:-1], self._ends[1:]
        return pad_ids([self._ids[starts[i] : ends[i]] for i in indices])  # type: ignore[misc]


def learn_words(
    texts: Sequence[str], part: np.ndarray, units: Units, min_count: int, lowercase: bool
) -> tuple[VocabularyEncoder, NumberedTexts]:
    """Collect the vocabulary of some of the texts and give all in its numbers, cut once.

    Args:
        texts: all of them.
        part: the indices of those to learn from: the training part, never the test part.
        units: as for `VocabularyEncoder`.
        min_count: as for `Vocabulary.build`.
        lowercase: as for `VocabularyEncoder`.

    Raises:
        DataError: as for `VocabularyEncoder.train`.
    """
    encoder = VocabularyEncoder(units, Vocabulary([]), lowercase)
    numbers: defaultdict[str, int] = defaultdict()
    numbers.default_factory = numbers.__len__
    # A text without tokens is one unknown one; no token is empty, so that is how it is written.
    tokens = (encoder.tokens(text) or [""] for text in texts)
    ids, ends = _in_one_piece((map(numbers.__getitem__, found) for found in tokens), len(texts))
    counts = dict(zip(numbers, _count(ids, ends, part, len(numbers)), strict=True))
    counts.pop("", None)
    encoder.vocabulary = Vocabulary.of_counts(counts, min_count)
    table = np.array(encoder.vocabulary.ids(numbers), dtype=np.intc)
    for first in range(0, len(ids), _AT_ONCE):
        here = slice(first, first + _AT_ONCE)
        ids[here] = table[ids[here]]
    return encoder, NumberedTexts(_narrow(ids, encoder.size), ends)


def _in_one_piece(rows: Iterable[Iterable[int]], count: int) -> tuple[np.ndarray, np.ndarray]:
    flat = array("i")
    ends = np.zeros(count + 1, dtype=np.int64)
    for place, row in enumerate(rows, 1):
        flat.extend(row)
        ends[place] = len(flat)
    return np.frombuffer(flat, dtype=np.intc), ends


def _count(ids: np.ndarray, ends: np.ndarray, part: np.ndarray, size: int) -> list[int]:
    """How often each number appears in some of the texts."""
    chosen = np.zeros(len(ends) - 1, dtype=bool)
    chosen[part] = True
    counts = np.zeros(size, dtype=np.int64)
    for first in range(0, len(chosen), _AT_ONCE):
        bounds = ends[first : first + _AT_ONCE + 1]
        inside = np.repeat(chosen[first : first + _AT_ONCE], np.diff(bounds))
        counts += np.bincount(ids[bounds[0] : bounds[-1]][inside], minlength=size)
    return counts.tolist()


def _narrow(ids: np.ndarray, size: int) -> np.ndarray:
    """In sixteen bits where all numbers have room there."""
    return ids.astype(np.uint16) if size <= 2**16 else ids
