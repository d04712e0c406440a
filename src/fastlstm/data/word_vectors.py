"""Pretrained word vectors in the usual text format."""

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fastlstm.data.errors import DataError
from fastlstm.data.vocabulary import Vocabulary


class WordVectors(NamedTuple):
    """The vectors of a vocabulary's words.

    Args:
        table: float32 `(V, D)`; rows of words that have no vector are zeros.
        found: bool `(V,)`: whether the word has one.
    """

    table: np.ndarray
    found: np.ndarray


def read_word_vectors(path: str | Path, vocabulary: Vocabulary) -> WordVectors:
    """Read the vectors of a vocabulary's words from a text file; other words are passed over.

    The format of GloVe, word2vec and fastText: a word and its numbers a line, spaces between; a
    first line of two integers (how many, how wide) may stand above. Words may hold spaces, as some
    of GloVe's do. A word that the file has only in another case gets the lower-case one's vector.
    The file may be compressed (`.gz`). Of a word that stands there twice the first counts.

    Raises:
        DataError: the file is missing, holds no vector, or a line is not of the width of the first
            one; the message names the line.
    """
    lowered: dict[str, list[int]] = {}
    rows = {token: index for index, token in enumerate(vocabulary.tokens)}
    for token, index in rows.items():
        if index >= len(vocabulary.specials):
            lowered.setdefault(token.lower(), []).append(index)
    exact: dict[int, np.ndarray] = {}
    fallback: dict[int, np.ndarray] = {}
    width = 0
    for number, fields in _lines(path):
        if number == 1 and len(fields) == 2 and all(field.isdecimal() for field in fields):
            width = int(fields[1])
            continue
        width = width or len(fields) - 1
        word = _word(path, number, fields, width)
        wanted = rows.get(word, 0) >= len(vocabulary.specials), word in lowered
        if not any(wanted):
            continue
        vector = _numbers(path, number, fields[len(fields) - width :])
        if wanted[0]:
            exact.setdefault(rows[word], vector)
        for index in lowered.get(word, ()):
            fallback.setdefault(index, vector)
    if not width:
        raise DataError(f"{path} holds no word vector")
    table = np.zeros((len(vocabulary), width), dtype=np.float32)
    found = np.zeros(len(vocabulary), dtype=bool)
    for index, vector in (fallback | exact).items():
        table[index] = vector
        found[index] = True
    return WordVectors(table, found)


def _lines(path: str | Path) -> Iterator[tuple[int, list[str]]]:
    path = Path(path)
    try:
        with gzip.open(path, "rb") if path.suffix.lower() == ".gz" else path.open("rb") as stream:
            for number, line in enumerate(stream, 1):
                # Some files end their lines with a space; some words are not valid UTF-8.
                fields = line.decode("utf-8", errors="replace").rstrip(" \r\n").split(" ")
                if fields != [""]:
                    yield number, fields
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist") from error
    except (OSError, EOFError) as error:
        raise DataError(f"cannot read {path}: {error}") from error


def _word(path: str | Path, number: int, fields: list[str], width: int) -> str:
    """The word of a line, which may hold spaces: numbers in its place are a wrong width."""
    head = fields[: len(fields) - width]
    if width < 1 or not head or (len(head) > 1 and all(map(_is_number, head[1:]))):
        raise DataError(
            f"{path}, line {number}: {len(fields) - 1} numbers: expected a word and "
            f"{width or 'its'} numbers"
        )
    return " ".join(head)


def _numbers(path: str | Path, number: int, fields: list[str]) -> np.ndarray:
    try:
        vector = np.array(fields, dtype=np.float32)
    except ValueError as error:
        wrong = next(field for field in fields if not _is_number(field))
        raise DataError(f"{path}, line {number}: {wrong!r} is no number") from error
    if not np.isfinite(vector).all():
        raise DataError(f"{path}, line {number}: a number is not finite")
    return vector


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True
