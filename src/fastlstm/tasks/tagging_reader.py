"""How sequences of the user's become numbers, the same way in `fit` and ever after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fastlstm.data import DataError
from fastlstm.tasks.tagging_steps import Frames, Kind, Piece, Steps, read_tokens, take
from fastlstm.tasks.tagging_words import WordNumbers, Words

Sequences = list[list[str]] | Frames
"""What was read: sentences, or frames."""


def read_sequences(X: Any) -> Sequences:
    """Read sequences of any kind.

    Raises:
        DataError: they cannot be read.
    """
    sentences = read_tokens(X)
    return Frames(X) if sentences is None else sentences


def sentences_of(sequences: Sequences) -> list[list[str]] | None:
    """The sentences, where they are some."""
    return None if isinstance(sequences, Frames) else sequences


def lengths_of(sequences: Sequences) -> list[int]:
    """The steps of each sequence."""
    if isinstance(sequences, Frames):
        return sequences.lengths
    return [len(sentence) for sentence in sequences]


class SequenceReader:
    """What the sequences of `fit` were like.

    Args:
        kind: what a step is.
        shape: of a vector or image; () for words.
        words: what is known of words, where steps are words.
    """

    def __init__(self, kind: Kind, shape: tuple[int, ...], words: WordNumbers | None) -> None:
        self.kind: Kind = kind
        self.shape = shape
        self.words = words

    @classmethod
    def learn(
        cls,
        sequences: Sequences,
        pieces: Sequence[Piece],
        min_count: int,
        lowercase: bool,
        with_characters: bool,
    ) -> SequenceReader:
        """Learn from the pieces that are trained on.

        Raises:
            DataError: `min_count` is below 1.
        """
        if isinstance(sequences, Frames):
            return cls(sequences.kind, sequences.shape, None)
        words = WordNumbers.learn(take(sequences, pieces), min_count, lowercase, with_characters)
        return cls("words", (), words)

    def read(self, X: Any) -> Sequences:
        """Read sequences that must be such ones.

        Raises:
            DataError: they cannot be read, or their steps are others.
        """
        sequences = read_sequences(X)
        kind: Kind = sequences.kind if isinstance(sequences, Frames) else "words"
        shape = sequences.shape if isinstance(sequences, Frames) else ()
        if (kind, shape) != (self.kind, self.shape):
            raise DataError(
                f"sequences of {_shown(kind, shape)}: expected {_shown(self.kind, self.shape)}, "
                "as in fit"
            )
        return sequences

    def encode(self, sequences: Sequences) -> Steps:
        """What was read, in numbers."""
        if isinstance(sequences, Frames):
            return sequences
        assert self.words is not None
        return Words(sequences, self.words)

    def to_mapping(self) -> dict[str, Any]:
        """For JSON, but for the words: `save_words` has those."""
        return {"kind": self.kind, "shape": list(self.shape)}

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> SequenceReader:
        """What `to_mapping` wrote.

        Raises:
            KeyError, TypeError: the mapping is no such thing.
        """
        return cls(mapping["kind"], tuple(mapping["shape"]), None)

    def save_words(self, folder: Path) -> None:
        """Write the vocabularies, where steps are words."""
        if self.words is not None:
            self.words.save(folder)

    def load_words(self, folder: Path, lowercase: bool, with_characters: bool) -> None:
        """Read what `save_words` wrote.

        Raises:
            DataError: a file is missing or holds something else.
        """
        if self.kind == "words":
            self.words = WordNumbers.load(folder, lowercase, with_characters)


def _shown(kind: Kind, shape: tuple[int, ...]) -> str:
    if kind == "words":
        return "words"
    return f"{kind} of {' x '.join(map(str, shape))}"
