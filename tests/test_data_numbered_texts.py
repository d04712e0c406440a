"""Texts as numbers in one piece: as the encoder would give them, one by one."""

import numpy as np
import pytest

from fastlstm.data import DataError, NumberedTexts, Vocabulary, VocabularyEncoder, learn_words
from fastlstm.data import numbered_texts as module

TEXTS = ["A cat, a dog.", "", "The cat!", "  ", "a bird and a cat", "<unk> or <pad>", "dog dog dog"]
PART = np.array([0, 1, 2, 5])


def rows(numbered: NumberedTexts) -> list[list[int]]:
    padded, lengths = numbered.batch(range(len(numbered)))
    return [row[:length].tolist() for row, length in zip(padded, lengths, strict=True)]


@pytest.mark.parametrize("together", [2, 8192])
@pytest.mark.parametrize("units", ["words", "characters"])
@pytest.mark.parametrize(("min_count", "lowercase"), [(1, True), (2, True), (1, False)])
def test_learnt_in_one_pass(monkeypatch, units, min_count, lowercase, together):
    monkeypatch.setattr(module, "_TOGETHER", together)
    encoder, numbered = learn_words(TEXTS, PART, units, min_count, lowercase)
    expected = VocabularyEncoder(units, Vocabulary([]), lowercase)
    tokens = [expected.tokens(TEXTS[i]) for i in PART]
    expected.vocabulary = Vocabulary.build(tokens, min_count)
    assert encoder.vocabulary.tokens == expected.vocabulary.tokens
    assert (encoder.units, encoder.lowercase) == (units, lowercase)
    assert rows(numbered) == [expected.encode(text) for text in TEXTS]
    assert rows(NumberedTexts.of(TEXTS, encoder)) == rows(numbered)
    assert numbered.lengths.tolist() == [len(row) for row in rows(numbered)]


@pytest.mark.parametrize("largest", [255, 256, 65_535, 65_536])
def test_numbers_of_any_size(monkeypatch, largest):
    monkeypatch.setattr(module, "_TOGETHER", 2)

    class Last:
        def encode(self, text):
            return [largest if text == "x" else 3, 0]

    expected = [[3, 0], [3, 0], [3, 0], [largest, 0], [3, 0]]
    assert rows(NumberedTexts.of(["a", "b", "c", "x", "d"], Last())) == expected


@pytest.mark.parametrize("rare", [0, 70_000])
def test_words_beyond_sixteen_bits(rare):
    words = [f"w{number}" for number in range(70_000)]
    texts = [" ".join(words), "w5 w69999", " ".join(words[rare:])]
    encoder, numbered = learn_words(texts, np.arange(3), "words", 2, True)
    assert encoder.size == 70_002 - rare + 2 * (rare > 0)
    assert rows(numbered) == [encoder.encode(text) for text in texts]


def test_what_is_refused():
    with pytest.raises(DataError, match="min_count is 0: expected at least 1"):
        learn_words(TEXTS, PART, "words", 0, True)
    with pytest.raises(DataError, match="units is 'lines': expected 'words' or 'characters'"):
        learn_words(TEXTS, PART, "lines", 1, True)
