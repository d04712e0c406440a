"""Tokens, vocabularies, subwords and word vectors."""

import gzip
import json
import re

import numpy as np
import pytest

from fastlstm.data import (
    DataError,
    SubwordEncoder,
    Vocabulary,
    VocabularyEncoder,
    learn_words,
    load_text_encoder,
    read_word_vectors,
    split_words,
)

TEXTS = ["The cat sat.", "the dog sat; the cat did not."]


def fails(message):
    return pytest.raises(DataError, match=f"^{re.escape(message)}$")


def test_words():
    assert split_words("Don't panic: it's 3.14, a well-known naïve x_1!?") == [
        *("Don't", "panic", ":", "it's", "3.14", ",", "a"),
        *("well-known", "naïve", "x_1", "!", "?"),
    ]
    assert split_words(" - ' ") == ["-", "'"]
    assert split_words("\n") == []


def test_vocabulary_counts():
    vocabulary = Vocabulary.build([["b", "a", "b"], ["c", "a", "d"]], min_count=2, specials=["<s>"])
    assert vocabulary.tokens == ["<pad>", "<unk>", "<s>", "a", "b"]
    assert vocabulary.ids(["b", "d", "<pad>", "<s>"]) == [4, 1, 0, 2]
    assert (len(vocabulary), "a" in vocabulary, "d" in vocabulary) == (5, True, False)


def test_markers_in_the_text_are_no_tokens():
    assert Vocabulary.build([["<unk>", "<pad>", "a"]]).tokens == ["<pad>", "<unk>", "a"]


def test_vocabulary_on_disk(tmp_path):
    vocabulary = Vocabulary(["é", '"', "\n"], specials=["<s>"])
    vocabulary.save(tmp_path / "vocabulary.json")
    loaded = Vocabulary.load(tmp_path / "vocabulary.json")
    assert (loaded.tokens, loaded.specials) == (vocabulary.tokens, vocabulary.specials)
    assert [path.name for path in tmp_path.iterdir()] == ["vocabulary.json"]


def test_wrong_vocabularies(tmp_path):
    with fails("token 'a' appears twice in a vocabulary"):
        Vocabulary(["a", "a"])
    with fails("min_count is 0: expected at least 1"):
        Vocabulary.build([], min_count=0)
    path = tmp_path / "v.json"
    with fails(f"{path} does not exist"):
        Vocabulary.load(path)
    for text, message in (
        ("[1]", f"{path} holds a list: expected a JSON object"),
        ("{}", "no vocabulary: expected `tokens` and `specials`"),
        (
            '{"tokens": [1], "specials": []}',
            "no vocabulary: expected strings in `tokens` and `specials`",
        ),
    ):
        path.write_text(text)
        with fails(message):
            Vocabulary.load(path)
    path.write_text("{")
    with pytest.raises(DataError, match="is not JSON: "):
        Vocabulary.load(path)


def learnt(texts, units, min_count=1, lowercase=True):
    return learn_words(texts, np.arange(len(texts)), units, min_count, lowercase)[0]


def test_encode_words():
    encoder = learnt(TEXTS, "words", min_count=2)
    assert encoder.vocabulary.tokens[2:] == ["the", ".", "cat", "sat"]
    assert encoder.encode("THE bird sat") == [2, 1, 5]
    assert encoder.encode("") == [1]
    assert encoder.size == 6
    assert learnt(TEXTS, "words", lowercase=False).encode("The") != [1]


def test_encode_characters():
    encoder = learnt(["abA"], "characters")
    assert encoder.tokens("Ab") == ["a", "b"]
    assert encoder.encode("ab?") == [2, 3, 1]


@pytest.mark.parametrize("units", ["words", "characters"])
def test_encoder_on_disk(tmp_path, units):
    encoder = learnt(TEXTS, units, lowercase=False)
    encoder.save(tmp_path / "text.json")
    loaded = load_text_encoder(tmp_path / "text.json")
    assert isinstance(loaded, VocabularyEncoder)
    assert loaded.tokens(TEXTS[0]) == encoder.tokens(TEXTS[0])
    assert loaded.encode("The Dog!") == encoder.encode("The Dog!")


def test_subwords(tmp_path):
    encoder = SubwordEncoder.train(TEXTS * 10, size=290)
    assert 258 < encoder.size <= 290
    assert encoder.encode("the cat") == encoder.encode("THE CAT")
    assert len(encoder.encode("the cat")) == 2
    assert encoder.tokens("the cat") == ["the", "cat"]
    assert min(encoder.encode("žluťoučký 🐈")) >= 2  # no text is unknown
    assert encoder.encode("") == [1]
    encoder.save(tmp_path / "text.json")
    loaded = load_text_encoder(tmp_path / "text.json")
    assert isinstance(loaded, SubwordEncoder)
    assert loaded.encode(TEXTS[1]) == encoder.encode(TEXTS[1])
    assert SubwordEncoder.train(TEXTS * 10, size=290).encode(TEXTS[1]) == encoder.encode(TEXTS[1])
    with fails("100 subwords: expected at least 258"):
        SubwordEncoder.train(TEXTS, size=100)


def test_no_text_encoder(tmp_path):
    path = tmp_path / "text.json"
    for value in ({"a": 1}, {"format": "fastlstm-text-encoder"}):
        path.write_text(json.dumps(value))
        with pytest.raises(DataError, match=f"^{re.escape(str(path))} holds no text encoder: "):
            load_text_encoder(path)
    with fails("units is 'bytes': expected 'words' or 'characters'"):
        VocabularyEncoder("bytes", Vocabulary([]))


@pytest.fixture
def vectors(tmp_path):
    def write(text, name="vectors.txt"):
        path = tmp_path / name
        content = text.encode()
        path.write_bytes(gzip.compress(content) if name.lower().endswith(".gz") else content)
        return path

    return write


VOCABULARY = Vocabulary(["cat", "Dog", "Paris", ". .", "none"])


@pytest.mark.parametrize("header", ["", "6 2\n"])
@pytest.mark.parametrize("name", ["vectors.txt", "vectors.txt.gz", "VECTORS.TXT.GZ"])
def test_word_vectors(vectors, header, name):
    text = f"{header}cat 1 2\ndog 3 4\nDog 5 6 \nparis 7 8\nother 0 0\n. . 9 -1e1\ncat 0 0\n"
    table, found = read_word_vectors(vectors(text, name), VOCABULARY)
    assert table.dtype == np.float32
    assert table.tolist() == [[0, 0], [0, 0], [1, 2], [5, 6], [7, 8], [9, -10], [0, 0]]
    assert found.tolist() == [False, False, True, True, True, True, False]


def test_markers_have_no_vector(vectors):
    assert not read_word_vectors(vectors("<unk> 1 2\ncat 1 2\n"), VOCABULARY).found[:2].any()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cat 1 2\ndog 3\n", "line 2: 1 numbers: expected a word and 2 numbers"),
        ("cat 1 2\ndog 3 4 5\n", "line 2: 3 numbers: expected a word and 2 numbers"),
        ("2 3\ncat 1 2\n", "line 2: 2 numbers: expected a word and 3 numbers"),
        ("cat 1 2\nDog 3 x\n", "line 2: 'x' is no number"),
        ("cat 1 nan\n", "line 1: a number is not finite"),
        ("cat\n", "line 1: 0 numbers: expected a word and its numbers"),
    ],
)
def test_wrong_word_vectors(vectors, text, message):
    path = vectors(text)
    with fails(f"{path}, {message}"):
        read_word_vectors(path, VOCABULARY)


def test_no_word_vectors(vectors, tmp_path):
    path = vectors("\n")
    with fails(f"{path} holds no word vector"):
        read_word_vectors(path, VOCABULARY)
    with fails(f"{tmp_path / 'no'} does not exist"):
        read_word_vectors(tmp_path / "no", VOCABULARY)
