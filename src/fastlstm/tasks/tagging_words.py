"""Words and their characters as numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import torch

from fastlstm.data import Vocabulary, pad_ids
from fastlstm.tasks.tagging_steps import Piece, StepBatch, take

WORDS, CHARACTERS = "words.json", "characters.json"
MOST_CHARACTERS = 32
"""Of a longer word its beginning and its end are read: so many characters in all."""


class WordNumbers:
    """What a tagger knows of words.

    Args:
        words: the known ones.
        characters: the known ones; None: characters are not read.
        lowercase: whether words are known without their case; characters keep it.
    """

    def __init__(self, words: Vocabulary, characters: Vocabulary | None, lowercase: bool) -> None:
        self.words = words
        self.characters = characters
        self.lowercase = lowercase

    @classmethod
    def learn(
        cls,
        sentences: Iterable[Sequence[str]],
        min_count: int,
        lowercase: bool,
        with_characters: bool,
    ) -> WordNumbers:
        """Collect the words of some sentences, and their characters.

        Raises:
            DataError: `min_count` is below 1.
        """
        kept = list(sentences)
        cased = [[_cased(word, lowercase) for word in sentence] for sentence in kept]
        words = Vocabulary.build(cased, min_count)
        if not with_characters:
            return cls(words, None, lowercase)
        # Each sentence's words one after another: a character that is rare is an unknown one.
        characters = Vocabulary.build((word for sentence in kept for word in sentence), min_count)
        return cls(words, characters, lowercase)

    def word_ids(self, tokens: Iterable[str]) -> list[int]:
        """A number for each word; unknown ones have 1."""
        return self.words.ids(_cased(token, self.lowercase) for token in tokens)

    def character_ids(self, token: str) -> list[int]:
        """A number for each character of a word, of a long one for those of its two ends."""
        assert self.characters is not None
        if len(token) > MOST_CHARACTERS:
            half = MOST_CHARACTERS // 2
            token = token[:half] + token[-half:]
        return self.characters.ids(token)

    def save(self, folder: Path) -> None:
        """Write the vocabularies as JSON, each all or nothing."""
        self.words.save(folder / WORDS)
        if self.characters is not None:
            self.characters.save(folder / CHARACTERS)

    @classmethod
    def load(cls, folder: Path, lowercase: bool, with_characters: bool) -> WordNumbers:
        """Read what `save` wrote.

        Raises:
            DataError: a file is missing or holds something else.
        """
        characters = Vocabulary.load(folder / CHARACTERS) if with_characters else None
        return cls(Vocabulary.load(folder / WORDS), characters, lowercase)


class Words:
    """Sequences of words in numbers.

    Args:
        sentences: lists of tokens.
        numbers: what makes numbers of them.
    """

    def __init__(self, sentences: Sequence[Sequence[str]], numbers: WordNumbers) -> None:
        self.ids = [numbers.word_ids(sentence) for sentence in sentences]
        self.characters: list[list[list[int]]] | None = None
        if numbers.characters is not None:
            known = {token for sentence in sentences for token in sentence}
            of_token = {token: numbers.character_ids(token) for token in known}
            self.characters = [[of_token[token] for token in sentence] for sentence in sentences]

    @property
    def lengths(self) -> list[int]:
        """The tokens of each sequence."""
        return [len(ids) for ids in self.ids]

    def batch(self, pieces: Sequence[Piece]) -> StepBatch:
        """Some pieces, with zeros behind shorter sentences and shorter words."""
        inputs, lengths = pad_ids(take(self.ids, pieces))
        if self.characters is None:
            return StepBatch(inputs, lengths, None)
        words = take(self.characters, pieces)
        most = max(len(word) for sentence in words for word in sentence)
        characters = torch.zeros(*inputs.shape, most, dtype=torch.int64)
        array = characters.numpy()
        for row, sentence in enumerate(words):
            for step, word in enumerate(sentence):
                array[row, step, : len(word)] = word
        return StepBatch(inputs, lengths, characters)


def _cased(word: str, lowercase: bool) -> str:
    return word.lower() if lowercase else word
