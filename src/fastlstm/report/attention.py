"""What a network with attention pooling looked at in a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fastlstm.report.errors import ReportError
from fastlstm.report.markup import Markup, element, joined
from fastlstm.report.section import Section, left_out, stacked

_MOST_SENTENCES = 12
_NAMED_WEIGHTS = 3


@dataclass(frozen=True)
class AttendedSentence:
    """A sentence with the attention weight of each token.

    Attributes:
        tokens: its words.
        weights: one for each token, at least 0; they add up to 1.
        predicted: the class that the model said.

    Raises:
        ReportError: a token has no weight, there is no token, or a weight is not from 0 to 1.
    """

    tokens: Sequence[str]
    weights: Sequence[float]
    predicted: str

    def __post_init__(self) -> None:
        if len(self.tokens) != len(self.weights) or not self.tokens:
            raise ReportError(
                f"expected a weight for each token, got {len(self.tokens)} tokens and "
                f"{len(self.weights)} weights"
            )
        outside = [weight for weight in self.weights if not 0 <= weight <= 1]
        if outside:
            raise ReportError(f"expected weights from 0 to 1, got {outside[0]}")


def attention(sentences: Sequence[AttendedSentence], total: int) -> Section:
    """Up to twelve sentences; the deeper a word, the larger its weight, and the top three named.

    Args:
        sentences: in the order in which they are shown.
        total: how many there are in all.

    Raises:
        ReportError: there are more than `total`.
    """
    if not 0 < len(sentences) <= total:
        raise ReportError(f"expected 1 to {total} of {total} sentences, got {len(sentences)}")
    shown = sentences[:_MOST_SENTENCES]
    return Section(
        "Attention",
        stacked(
            element("ol", *map(_sentence, shown), class_="attended"),
            left_out(len(shown), total, "sentence"),
        ),
        "The deeper a word, the more of the answer came from there; the three largest weights "
        "stand beside their words.",
    )


def _sentence(sentence: AttendedSentence) -> Markup:
    ranked = sorted(range(len(sentence.weights)), key=lambda place: -sentence.weights[place])
    named, largest = set(ranked[:_NAMED_WEIGHTS]), sentence.weights[ranked[0]] or 1.0
    words = []
    for place, (token, weight) in enumerate(zip(sentence.tokens, sentence.weights, strict=True)):
        number = f"{100 * weight:.0f}%"
        note = [element("sub", number)] if place in named else []
        words += [element("span", token, *note, style=f"--depth: {weight / largest:.2f}"), " "]
    return element(
        "li",
        element("p", joined(words), class_="words", dir="auto"),
        element("p", "→ ", element("b", sentence.predicted), class_="said"),
    )
