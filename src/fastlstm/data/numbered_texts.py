"""Many texts as numbers, in the memory that the numbers need."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from torch import Tensor

from fastlstm.data.sequences import pad_ids
from fastlstm.data.text import TextEncoder, Units, VocabularyEncoder
from fastlstm.data.vocabulary import Vocabulary

# Texts whose numbers are one array, all in the smallest type that holds them.
_TOGETHER = 8192


class _Stretch(NamedTuple):
    """The numbers of some texts that follow each other."""

    ids: np.ndarray
    ends: np.ndarray  # where each text begins in `ids`, and behind them where the last one ends


class NumberedTexts:
    """The numbers of the tokens of texts; a list for each text would take ten times the memory.

    Args:
        stretches: the texts, `_TOGETHER` in each but the last.
    """

    def __init__(self, stretches: list[_Stretch]) -> None:
        self._stretches = stretches

    @classmethod
    def of(cls, texts: Sequence[str], encoder: TextEncoder) -> NumberedTexts:
        """The numbers that an encoder gives."""
        return cls(list(_stretches(map(encoder.encode, texts))))

    def __len__(self) -> int:
        return sum(len(ends) - 1 for _, ends in self._stretches)

    @property
    def lengths(self) -> np.ndarray:
        """The number of tokens of each, int32 `(N,)`."""
        return np.concatenate([np.diff(ends) for _, ends in self._stretches])

    def batch(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Some of the texts as ids (B, T), and their lengths (B)."""
        return pad_ids([self._at(index) for index in indices])

    def _at(self, index: int) -> np.ndarray:
        ids, ends = self._stretches[index // _TOGETHER]
        place = index % _TOGETHER
        return ids[ends[place] : ends[place + 1]]


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
        DataError: as for `VocabularyEncoder` and `Vocabulary.build`.
    """
    encoder = VocabularyEncoder(units, Vocabulary([]), lowercase)
    numbers: defaultdict[str, int] = defaultdict()
    numbers.default_factory = numbers.__len__
    # A text without tokens is one unknown one; no token is empty, so that is how it is written.
    tokens = (encoder.tokens(text) or [""] for text in texts)
    stretches = list(_stretches(map(numbers.__getitem__, found) for found in tokens))
    chosen = np.zeros(len(texts), dtype=bool)
    chosen[part] = True
    counts = dict(zip(numbers, _count(stretches, chosen, len(numbers)), strict=True))
    counts.pop("", None)
    encoder.vocabulary = Vocabulary.of_counts(counts, min_count)
    table = np.array(encoder.vocabulary.ids(numbers), dtype=np.min_scalar_type(encoder.size))
    for place, (ids, ends) in enumerate(stretches):
        stretches[place] = _Stretch(table[ids], ends)
    return encoder, NumberedTexts(stretches)


def _stretches(rows: Iterable[Iterable[int]]) -> Iterator[_Stretch]:
    flat, ends = array("i"), array("i", [0])
    for row in rows:
        flat.extend(row)
        ends.append(len(flat))
        if len(ends) > _TOGETHER:
            yield _stretch(flat, ends)
            flat, ends = array("i"), array("i", [0])
    if len(ends) > 1:
        yield _stretch(flat, ends)


def _stretch(flat: array[int], ends: array[int]) -> _Stretch:
    ids = np.frombuffer(flat, dtype=np.intc)
    return _Stretch(ids.astype(np.min_scalar_type(ids.max())), np.array(ends, dtype=np.int32))


def _count(stretches: Iterable[_Stretch], chosen: np.ndarray, size: int) -> list[int]:
    """How often each number appears in those of the texts that are chosen."""
    counts = np.zeros(size, dtype=np.int64)
    for place, (ids, ends) in enumerate(stretches):
        inside = chosen[place * _TOGETHER :][: len(ends) - 1]
        counts += np.bincount(ids[np.repeat(inside, np.diff(ends))], minlength=size)
    return counts.tolist()
