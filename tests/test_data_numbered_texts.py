"""Texts as numbers in one piece: as the encoder would give them, one by one."""

import numpy as np
import pytest

from fastlstm.data import DataError, NumberedTexts, VocabularyEncoder, learn_words
from fastlstm.data import numbered_texts as module

TEXTS = ["A cat, a dog.", "", "The cat!", "  ", "a bird and a cat", "<unk> or <pad>", "dog dog dog"]
PART = np.array([0, 1, 2, 5])


def rows(numbered: NumberedTexts) -> list[list[int]]:
    padded, lengths = numbered.batch(range(len(numbered)))
    return [row[:length].tolist() for row, length in zip(padded, lengths, strict=True)]


@pytest.mark.parametrize("at_once", [2, 65_536])
@pytest.mark.parametrize("units", ["words", "characters"])
@pytest.mark.parametrize(("min_count", "lowercase"), [(1, True), (2, True), (1, False)])
def test_learnt_in_one_pass(monkeypatch, units, min_count, lowercase, at_once):
    monkeypatch.setattr(module, "_AT_ONCE", at_once)
    encoder, numbered = learn_words(TEXTS, PART, units, min_count, lowercase)
    expected = VocabularyEncoder.train([TEXTS[i] for i in PART], units, min_count, lowercase)
    assert encoder.vocabulary.tokens == expected.vocabulary.tokens
    assert (encoder.units, encoder.lowercase) == (units, lowercase)
    assert rows(numbered) == [expected.encode(text) for text in TEXTS]
    assert rows(NumberedTexts.of(TEXTS, encoder)) == rows(numbered)
    assert numbered.lengths == [len(row) for row in rows(numbered)]


@pytest.mark.parametrize("size", [65_535, 65_536, 65_537])
def test_numbers_beyond_sixteen_bits(size):
    class Last:
        def __init__(self):
            self.size = size

        def encode(self, text):
            return [size - 1, 0]

    assert rows(NumberedTexts.of(["x", "y"], Last())) == [[size - 1, 0]] * 2


def test_what_is_refused():
    with pytest.raises(DataError, match="min_count is 0: expected at least 1"):
        learn_words(TEXTS, PART, "words", 0, True)
    with pytest.raises(DataError, match="units is 'lines': expected 'words' or 'characters'"):
        learn_words(TEXTS, PART, "lines", 1, True)
