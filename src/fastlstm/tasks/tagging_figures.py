"""The field's measures of tags, beside the most frequent tag of each word."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fastlstm.atomic import write_atomically
from fastlstm.data import DataError
from fastlstm.data.vocabulary import read_json
from fastlstm.tasks.tagging_spans import SpanCounts, count_spans, marks_spans

BASELINE = "baseline.json"


class Baseline:
    """The most frequent class of each word in training, of other words and of frames that of all.

    Of two classes equally frequent the first one.

    Args:
        of_all: the class, for each target.
        of_words: for each target that of each word; empty where steps are no words.
    """

    def __init__(
        self, of_all: Mapping[str, int], of_words: Mapping[str, Mapping[str, int]]
    ) -> None:
        self.of_all = dict(of_all)
        self.of_words = {name: dict(words) for name, words in of_words.items()}

    @classmethod
    def learn(
        cls,
        ids: Mapping[str, Sequence[np.ndarray]],
        sentences: Sequence[Sequence[str]] | None,
    ) -> Baseline:
        """Count the classes of training sequences, and of their words if they have some."""
        of_all = {n: int(np.bincount(np.concatenate(rows)).argmax()) for n, rows in ids.items()}
        if sentences is None:
            return cls(of_all, {})
        return cls(of_all, {name: _most_frequent(sentences, rows) for name, rows in ids.items()})

    def knows(self, word: str) -> bool:
        """Whether a word was in training."""
        return word in next(iter(self.of_words.values()))

    def predict(
        self, name: str, lengths: Sequence[int], sentences: Sequence[Sequence[str]] | None
    ) -> list[np.ndarray]:
        """The classes of some sequences."""
        if sentences is None:
            return [np.full(length, self.of_all[name]) for length in lengths]
        words, other = self.of_words[name], self.of_all[name]
        return [np.array([words.get(word, other) for word in one]) for one in sentences]

    def save(self, folder: Path) -> None:
        """Write it as JSON, all or nothing."""
        mapping = {"of_all": self.of_all, "of_words": self.of_words}
        write_atomically(folder / BASELINE, json.dumps(mapping, ensure_ascii=False) + "\n")

    @classmethod
    def load(cls, folder: Path) -> Baseline:
        """Read what `save` wrote.

        Raises:
            DataError: the file is missing or holds something else.
        """
        mapping = read_json(folder / BASELINE)
        try:
            return cls(mapping["of_all"], mapping["of_words"])
        except (KeyError, AttributeError, TypeError, ValueError) as error:
            raise DataError(f"{folder / BASELINE} holds no baseline of a tagger") from error


def figures(
    classes: Sequence[Any],
    truth: Sequence[np.ndarray],
    predicted: Sequence[np.ndarray],
    baseline: Sequence[np.ndarray],
    unknown: np.ndarray | None,
) -> dict[str, float]:
    """The measures of one target.

    Args:
        classes: the K that training saw.
        truth: for each sequence the class of each step, K and above for those never seen.
        predicted: what the network says, below K.
        baseline: what the baseline says, below K.
        unknown: for all steps one after another whether training never saw the word; None: steps
            are no words.

    Returns:
        `accuracy` and `macro_f1` by step; `unknown_word_accuracy` where there are unknown words;
        `span_precision`, `span_recall` and `span_f1` where labels mark spans; the `baseline_…` of
        accuracy, macro F1 and span F1; `unseen_labels`, the share of steps whose label training
        never saw, each of which is a mistake.
    """
    true_steps = np.concatenate(truth)
    found = _measures(classes, truth, predicted)
    right = np.concatenate(predicted) == true_steps
    if unknown is not None and unknown.any():
        found["unknown_word_accuracy"] = float(right[unknown].mean())
    of_baseline = _measures(classes, truth, baseline)
    for name in ("accuracy", "macro_f1", "span_f1"):
        if name in of_baseline:
            found[f"baseline_{name}"] = of_baseline[name]
    found["unseen_labels"] = float((true_steps >= len(classes)).mean())
    return found


def _measures(
    classes: Sequence[Any], truth: Sequence[np.ndarray], said: Sequence[np.ndarray]
) -> dict[str, float]:
    true_steps, said_steps = np.concatenate(truth), np.concatenate(said)
    found = {
        "accuracy": float((true_steps == said_steps).mean()),
        "macro_f1": _macro_f1(true_steps, said_steps),
    }
    if marks_spans(classes):
        counts = SpanCounts()
        for true_row, said_row in zip(truth, said, strict=True):
            counts.add(count_spans(_names(classes, true_row), _names(classes, said_row)))
        found |= counts.figures()
    return found


def _macro_f1(truth: np.ndarray, said: np.ndarray) -> float:
    """The mean F1 of the classes that appear, in truth or in what is said."""
    size = int(max(truth.max(), said.max())) + 1
    hits, of_truth, of_said = (
        np.bincount(one, minlength=size) for one in (truth[truth == said], truth, said)
    )
    appear = of_truth + of_said
    return float((2 * hits[appear > 0] / appear[appear > 0]).mean())


def _names(classes: Sequence[Any], ids: np.ndarray) -> list[str]:
    # A mark that training never saw begins a span of a type of its own, which nobody finds.
    return [classes[one] if one < len(classes) else f"B-{one}" for one in ids.tolist()]


def _most_frequent(sentences: Sequence[Sequence[str]], ids: Sequence[np.ndarray]) -> dict[str, int]:
    counts: dict[str, Counter[int]] = {}
    for words, row in zip(sentences, ids, strict=True):
        for word, one in zip(words, row.tolist(), strict=True):
            counts.setdefault(word, Counter())[one] += 1
    return {word: min(found, key=lambda one: (-found[one], one)) for word, found in counts.items()}
