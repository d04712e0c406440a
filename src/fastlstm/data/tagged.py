"""Sentences with a label for each token, and the files that hold them."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastlstm.data.errors import DataError
from fastlstm.data.plain_text import not_utf8

# The columns of CoNLL-U (https://universaldependencies.org/format.html) that label a token.
CONLLU_COLUMNS = {"lemma": 2, "upos": 3, "xpos": 4, "feats": 5}


@dataclass(frozen=True)
class TaggedSentences:
    """N sentences, and for each target one label a token.

    Args:
        tokens: N lists of words.
        labels: for each target N lists of labels, as long as those of `tokens`.
    """

    tokens: list[list[str]]
    labels: dict[str, list[list[str]]]

    def __post_init__(self) -> None:
        for target, rows in self.labels.items():
            lengths = [len(row) for row in rows]
            expected = [len(row) for row in self.tokens]
            if lengths != expected:
                raise DataError(_length_message(target, lengths, expected))

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def token_count(self) -> int:
        """The number of tokens in all sentences."""
        return sum(map(len, self.tokens))

    def select(self, indices: Iterable[int]) -> "TaggedSentences":
        """Some of the sentences."""
        chosen = list(indices)
        labels = {name: [rows[i] for i in chosen] for name, rows in self.labels.items()}
        return TaggedSentences([self.tokens[i] for i in chosen], labels)


def read_conllu(
    source: str | Path | bytes, targets: Sequence[str] = ("upos",), shown: str | None = None
) -> TaggedSentences:
    """Read a CoNLL-U file: words, as syntax counts them.

    Lines of multi-word tokens (`3-4 don't`) and of empty nodes (`5.1`) are passed over: the words
    that they stand for, or beside, have lines of their own.

    Args:
        source: a path, or the content as bytes.
        targets: some of `lemma`, `upos`, `xpos`, `feats`. Features are one label, such as
            `Number=Sing|Person=3`; `_` where there is none.
        shown: what errors call it, where it is no path.

    Raises:
        DataError: the file is missing or a line is not CoNLL-U; the message names the line.
    """
    unknown = [target for target in targets if target not in CONLLU_COLUMNS]
    if unknown:
        raise DataError(f"no target {unknown[0]!r}: expected some of {', '.join(CONLLU_COLUMNS)}")
    name = shown or str(source)

    def rows() -> Iterator[list[str] | None]:
        for number, line in _lines(source, name):
            fields = line.split("\t")
            if not line:
                yield None
            elif not line.startswith("#"):
                if len(fields) != 10:
                    raise DataError(
                        f"{name}, line {number}: {len(fields)} columns: expected the 10 of "
                        f"CoNLL-U, with tabs between"
                    )
                if fields[0].isdecimal():
                    yield [fields[1], *(fields[CONLLU_COLUMNS[target]] for target in targets)]
                elif not fields[0].replace("-", "").replace(".", "").isdecimal():
                    raise DataError(f"{name}, line {number}: {fields[0]!r} is no number of a word")

    return _sentences(rows(), targets, name)


def read_conll(path: str | Path, targets: Sequence[str] = ("label",)) -> TaggedSentences:
    """Read a file of columns: a token a line, its labels last, an empty line between sentences.

    Columns are separated by tabs, or, in a line without one, by white space. With one target the
    last column is its label, with two the last two, and so on; columns between are passed over.
    `-DOCSTART-` lines of CoNLL-2003 are no tokens.

    Raises:
        DataError: the file is missing, or a line has too few columns; the message names the line.
    """

    def rows() -> Iterator[list[str] | None]:
        for number, line in _lines(path, str(path)):
            fields = line.split("\t") if "\t" in line else line.split()
            if not line.strip() or fields[0] == "-DOCSTART-":
                yield None
                continue
            if len(fields) < 1 + len(targets):
                raise DataError(
                    f"{path}, line {number}: {len(fields)} columns: expected a token and "
                    f"{len(targets)} labels"
                )
            yield [fields[0], *fields[len(fields) - len(targets) :]]

    return _sentences(rows(), targets, str(path))


def read_tagged_json_lines(
    path: str | Path, tokens: str = "tokens", targets: Sequence[str] = ("labels",)
) -> TaggedSentences:
    """Read JSON Lines: an object a sentence, with a list of tokens and a list for each target.

    Labels that are numbers become text.

    Raises:
        DataError: the file is missing, or a line is not such an object; the message names it.
    """
    words: list[list[str]] = []
    labels: dict[str, list[list[str]]] = {target: [] for target in targets}
    for number, line in _lines(path, str(path)):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            value = json.loads(line)
        except ValueError as error:
            raise DataError(f"{where}: no JSON: {error}") from error
        words.append(_texts(where, value, tokens))
        if not words[-1]:
            raise DataError(f"{where}: no tokens")
        for target in targets:
            found = _texts(where, value, target)
            if len(found) != len(words[-1]):
                raise DataError(
                    f"{where}: {len(found)} {target} for {len(words[-1])} tokens: expected one each"
                )
            labels[target].append(found)
    if not words:
        raise DataError(f"{path} holds no sentence")
    return TaggedSentences(words, labels)


def _texts(where: str, value: Any, key: str) -> list[str]:
    if not isinstance(value, dict) or not isinstance(value.get(key), list):
        raise DataError(f"{where}: expected an object with a list {key!r}")
    if not all(isinstance(item, str | int) for item in value[key]):
        raise DataError(f"{where}: {key!r} holds more than texts and integers")
    return [str(item) for item in value[key]]


def _sentences(
    rows: Iterable[list[str] | None], targets: Sequence[str], shown: str
) -> TaggedSentences:
    """Gather rows `[token, label, …]` up to a None into sentences."""
    sentences: list[list[list[str]]] = [[]]
    for row in rows:
        if row is not None:
            sentences[-1].append(row)
        elif sentences[-1]:
            sentences.append([])
    if not sentences[-1]:
        sentences.pop()
    if not sentences:
        raise DataError(f"{shown} holds no sentence")
    labels = {
        target: [[row[position] for row in sentence] for sentence in sentences]
        for position, target in enumerate(targets, 1)
    }
    return TaggedSentences([[row[0] for row in sentence] for sentence in sentences], labels)


def _lines(source: str | Path | bytes, shown: str) -> Iterator[tuple[int, str]]:
    try:
        content = source if isinstance(source, bytes) else Path(source).read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"{shown} does not exist") from error
    except OSError as error:
        raise DataError(f"cannot read {shown}: {error.strerror}") from error
    # By \n alone: splitlines would also cut at signs that stand inside words of web text.
    for number, line in enumerate(content.split(b"\n"), 1):
        try:
            yield number, line.removesuffix(b"\r").decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise not_utf8(f"{shown}, line {number}") from error


def _length_message(target: str, lengths: list[int], expected: list[int]) -> str:
    if len(lengths) != len(expected):
        return f"{target}: labels for {len(lengths)} of {len(expected)} sentences"
    index = next(
        i for i, pair in enumerate(zip(lengths, expected, strict=True)) if pair[0] != pair[1]
    )
    return (
        f"{target}: sentence {index} has {lengths[index]} labels for {expected[index]} tokens: "
        f"expected one each"
    )
