"""Labels that mark spans: `B-LOC I-LOC O` and its kin."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

# Begin, inside, end (or last), single (or unit): IOB1, IOB2, IOBES and BILOU are all read so.
_MARK = re.compile(r"([BIESLU])-(.+)")
_BEGINS, _ENDS = "BSU", "ESLU"


@dataclass
class SpanCounts:
    """How many spans were found with their type and both borders, how many said, how many are."""

    hits: int = 0
    said: int = 0
    true: int = 0

    def add(self, other: SpanCounts) -> None:
        """Count another's spans in."""
        self.hits += other.hits
        self.said += other.said
        self.true += other.true

    def figures(self) -> dict[str, float]:
        """Precision, recall and F1 (Tjong Kim Sang & De Meulder 2003); 0 where there are none."""
        return {
            "span_precision": self.hits / self.said if self.said else 0.0,
            "span_recall": self.hits / self.true if self.true else 0.0,
            "span_f1": 2 * self.hits / (self.said + self.true) if self.said + self.true else 0.0,
        }


def marks_spans(classes: Sequence[Any]) -> bool:
    """Whether classes are `O` and marks of spans, with a beginning or an inside among them."""
    labels = [label for label in classes if label != "O"]
    matches = [_MARK.fullmatch(label) if isinstance(label, str) else None for label in labels]
    marks = {match[1] for match in matches if match}
    return bool(labels) and all(matches) and bool(marks & {"B", "I"})


def spans_of(labels: Sequence[str]) -> set[tuple[int, int, str]]:
    """The spans of a sequence: first step, one past the last, and type.

    Where the marks do not fit together a span begins at each change of type, as in the evaluation
    of CoNLL-2003; a label that is no mark is outside of all spans.
    """
    spans = set()
    start, kind = 0, ""
    for step, label in enumerate([*labels, "O"]):
        match = _MARK.fullmatch(label)
        mark, found = (match[1], match[2]) if match else ("O", "")
        if kind and (found != kind or mark in _BEGINS):
            spans.add((start, step, kind))
            kind = ""
        if found and not kind:
            start, kind = step, found
        if kind and mark in _ENDS:
            spans.add((start, step + 1, kind))
            kind = ""
    return spans


def count_spans(truth: Sequence[str], said: Sequence[str]) -> SpanCounts:
    """Compare the spans of one sequence."""
    true_spans, said_spans = spans_of(truth), spans_of(said)
    return SpanCounts(len(true_spans & said_spans), len(said_spans), len(true_spans))
