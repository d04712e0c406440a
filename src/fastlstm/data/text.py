"""Text as tokens: words, characters, or the pieces of a byte-pair encoding."""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from fastlstm.atomic import write_atomically
from fastlstm.data.errors import DataError
from fastlstm.data.vocabulary import PADDING, UNKNOWN, Vocabulary, read_json

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# A word with what joins its parts (don't, well-known, 3.14), else a single sign.
_WORD = re.compile(r"\w+(?:['’.,\-]\w+)*|[^\w\s]")
_FORMAT = "fastlstm-text-encoder"

Units = Literal["words", "characters"]


def split_words(text: str) -> list[str]:
    """Cut a text into words and signs.

    A word is a run of letters, digits and underscores; an apostrophe, hyphen, point or comma
    between two such runs is part of it. Every other sign that is not white space stands alone.
    Languages written without spaces come out as one word a phrase: use characters or subwords.
    """
    return _WORD.findall(text)


class TextEncoder(Protocol):
    """What turns a text into numbers, and is saved with the model."""

    @property
    def size(self) -> int:
        """How many different numbers there are; 0 is padding, 1 is unknown."""
        ...

    def tokens(self, text: str) -> list[str]:
        """The pieces of a text, to be shown."""
        ...

    def encode(self, text: str) -> list[int]:
        """The number of each piece; a text without any gives one unknown token."""
        ...

    def save(self, path: str | Path) -> None:
        """Write it as JSON, all or nothing."""
        ...


class VocabularyEncoder:
    """Words or characters, each with its number; `learn_words` makes one from texts.

    Args:
        units: what a token is.
        vocabulary: the tokens that have a number.
        lowercase: whether case is dropped first.
    """

    def __init__(self, units: Units, vocabulary: Vocabulary, lowercase: bool = True) -> None:
        if units not in ("words", "characters"):
            raise DataError(f"units is {units!r}: expected 'words' or 'characters'")
        self.units = units
        self.vocabulary = vocabulary
        self.lowercase = lowercase

    @property
    def size(self) -> int:
        """As `TextEncoder`."""
        return len(self.vocabulary)

    def tokens(self, text: str) -> list[str]:
        """As `TextEncoder`."""
        text = text.lower() if self.lowercase else text
        return split_words(text) if self.units == "words" else list(text)

    def encode(self, text: str) -> list[int]:
        """As `TextEncoder`."""
        return self.vocabulary.ids(self.tokens(text)) or [Vocabulary.unknown]

    def save(self, path: str | Path) -> None:
        """As `TextEncoder`."""
        value = {
            "format": _FORMAT,
            "units": self.units,
            "lowercase": self.lowercase,
            "vocabulary": self.vocabulary.to_mapping(),
        }
        write_atomically(path, json.dumps(value, ensure_ascii=False, indent=0) + "\n")


class SubwordEncoder:
    """The pieces of a byte-pair encoding (Sennrich et al. 2016), by Hugging Face `tokenizers`.

    Works on bytes: every text can be written, and no piece is ever unknown.

    Args:
        tokenizer: a trained one, whose numbers 0 and 1 are padding and unknown.
    """

    def __init__(self, tokenizer: "Tokenizer") -> None:
        self._tokenizer = tokenizer

    @classmethod
    def train(
        cls, texts: Iterable[str], size: int = 8_000, lowercase: bool = True
    ) -> "SubwordEncoder":
        """Learn the pieces from some texts: the training part, never the test part.

        Args:
            texts: read once.
            size: how many numbers there may be: at least 258, two markers and all bytes.
            lowercase: whether case is dropped first.

        Raises:
            DataError: the size is too small.
        """
        from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

        alphabet = pre_tokenizers.ByteLevel.alphabet()
        if size < len(alphabet) + 2:
            raise DataError(f"{size} subwords: expected at least {len(alphabet) + 2}")
        tokenizer: Any = Tokenizer(models.BPE(unk_token=UNKNOWN))
        forms = [normalizers.NFC(), *([normalizers.Lowercase()] if lowercase else [])]
        tokenizer.normalizer = normalizers.Sequence(forms)
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=size,
            special_tokens=[PADDING, UNKNOWN],
            initial_alphabet=sorted(alphabet),
            show_progress=False,
        )
        tokenizer.train_from_iterator(texts, trainer)
        return cls(tokenizer)

    @property
    def size(self) -> int:
        """As `TextEncoder`."""
        return self._tokenizer.get_vocab_size()

    def tokens(self, text: str) -> list[str]:
        """As `TextEncoder`; what is not a whole number of characters shows as �."""
        ids = self._tokenizer.encode(text).ids
        return [self._tokenizer.decode([index]).removeprefix(" ") or " " for index in ids]

    def encode(self, text: str) -> list[int]:
        """As `TextEncoder`."""
        return self._tokenizer.encode(text).ids or [Vocabulary.unknown]

    def save(self, path: str | Path) -> None:
        """As `TextEncoder`: the file is one of Hugging Face `tokenizers`."""
        write_atomically(path, self._tokenizer.to_str(pretty=False) + "\n")


def load_text_encoder(path: str | Path) -> TextEncoder:
    """Read what a text encoder's `save` wrote.

    Raises:
        DataError: the file is missing or is no such file.
    """
    value = read_json(path)
    if value.get("format") == _FORMAT:
        try:
            vocabulary = Vocabulary.from_mapping(value["vocabulary"])
            return VocabularyEncoder(value["units"], vocabulary, value["lowercase"])
        except (KeyError, DataError) as error:
            raise DataError(f"{path} holds no text encoder: {error}") from error
    from tokenizers import Tokenizer

    try:
        return SubwordEncoder(Tokenizer.from_str(json.dumps(value)))
    except Exception as error:  # tokenizers raises plain Exception
        raise DataError(f"{path} holds no text encoder: {error}") from error
