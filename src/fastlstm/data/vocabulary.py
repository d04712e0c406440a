"""Tokens as numbers."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, repeat
from pathlib import Path

from fastlstm.atomic import write_atomically
from fastlstm.data.errors import DataError

PADDING = "<pad>"
UNKNOWN = "<unk>"


class Vocabulary:
    """The known tokens (words, characters, …) and the number of each.

    Number 0 is padding, 1 stands for every unknown token, then come further specials, then the
    tokens.

    Args:
        tokens: each once.
        specials: markers of the user's own, such as `("<s>", "</s>")`.

    Raises:
        DataError: a token appears twice.
    """

    padding = 0
    unknown = 1

    def __init__(self, tokens: Iterable[str], specials: Sequence[str] = ()) -> None:
        self.specials = (PADDING, UNKNOWN, *specials)
        self.tokens = [*self.specials, *tokens]
        self._ids = {token: index for index, token in enumerate(self.tokens)}
        if len(self._ids) != len(self.tokens):
            twice = Counter(self.tokens).most_common(1)[0][0]
            raise DataError(f"token {twice!r} appears twice in a vocabulary")

    @classmethod
    def build(
        cls,
        sentences: Iterable[Iterable[str]],
        min_count: int = 1,
        specials: Sequence[str] = (),
    ) -> "Vocabulary":
        """Collect the tokens of some sentences: frequent ones first, equal ones by the alphabet.

        Args:
            sentences: tokens, or for a vocabulary of characters simply words.
            min_count: a token must appear this often; rarer ones are unknown.
            specials: as for the class.

        Raises:
            DataError: `min_count` is below 1.
        """
        return cls.of_counts(Counter(chain.from_iterable(sentences)), min_count, specials)

    @classmethod
    def of_counts(
        cls, counts: Mapping[str, int], min_count: int = 1, specials: Sequence[str] = ()
    ) -> "Vocabulary":
        """As `build`, of tokens that are counted already."""
        if min_count < 1:
            raise DataError(f"min_count is {min_count}: expected at least 1")
        known = {PADDING, UNKNOWN, *specials}
        kept = [
            token for token, count in counts.items() if count >= min_count and token not in known
        ]
        return cls(sorted(kept, key=lambda token: (-counts[token], token)), specials)

    def __len__(self) -> int:
        return len(self.tokens)

    def __contains__(self, token: str) -> bool:
        return token in self._ids

    def ids(self, tokens: Iterable[str]) -> list[int]:
        """Tokens as numbers; unknown ones are 1."""
        return list(map(self._ids.get, tokens, repeat(self.unknown)))

    def to_mapping(self) -> dict[str, list[str]]:
        """What `from_mapping` reads back: plain lists for JSON."""
        own = self.specials[2:]
        return {"specials": list(own), "tokens": self.tokens[len(self.specials) :]}

    @classmethod
    def from_mapping(cls, mapping: dict[str, list[str]]) -> "Vocabulary":
        """The vocabulary that `to_mapping` described.

        Raises:
            DataError: the mapping is no vocabulary.
        """
        try:
            tokens, specials = mapping["tokens"], mapping["specials"]
        except (KeyError, TypeError) as error:
            raise DataError("no vocabulary: expected `tokens` and `specials`") from error
        if not all(isinstance(token, str) for token in [*tokens, *specials]):
            raise DataError("no vocabulary: expected strings in `tokens` and `specials`")
        return cls(tokens, specials)

    def save(self, path: str | Path) -> None:
        """Write it as JSON, all or nothing."""
        write_atomically(path, json.dumps(self.to_mapping(), ensure_ascii=False, indent=0) + "\n")

    @classmethod
    def load(cls, path: str | Path) -> "Vocabulary":
        """Read what `save` wrote.

        Raises:
            DataError: the file is missing or holds no vocabulary.
        """
        return cls.from_mapping(read_json(path))


def read_json(path: str | Path) -> dict:
    """Read a JSON object from a file.

    Raises:
        DataError: the file is missing or holds something else.
    """
    try:
        value = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist") from error
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise DataError(f"{path} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise DataError(f"{path} holds a {type(value).__name__}: expected a JSON object")
    return value
