"""What a tagger said of sentences and of recordings, with its errors marked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fastlstm.report import formats
from fastlstm.report.errors import ReportError
from fastlstm.report.markup import Markup, element, joined
from fastlstm.report.section import Section, left_out, stacked

_MOST_SENTENCES = 20
_MOST_TOKENS = 80
_MOST_RECORDINGS = 8
_MOST_COLOURS = 8


@dataclass(frozen=True)
class TaggedSentence:
    """A sentence with the actual and the predicted label of each token.

    Raises:
        ReportError: the three have not the same length, or it is 0.
    """

    tokens: Sequence[str]
    actual: Sequence[str]
    predicted: Sequence[str]

    def __post_init__(self) -> None:
        lengths = len(self.tokens), len(self.actual), len(self.predicted)
        if len(set(lengths)) != 1 or lengths[0] == 0:
            raise ReportError(
                "expected an actual and a predicted label for each token, got "
                f"{lengths[0]} tokens, {lengths[1]} actual and {lengths[2]} predicted labels"
            )


def tagged_sentences(sentences: Sequence[TaggedSentence], total: int) -> Section:
    """Up to 20 sentences, each token over its label; an error shows both labels and a ✗.

    Args:
        sentences: in the order in which they are shown.
        total: how many there are in all.

    Raises:
        ReportError: there are more than `total`.
    """
    _check_total(len(sentences), total, "sentences")
    shown = sentences[:_MOST_SENTENCES]
    return Section(
        "Tagged sentences",
        stacked(
            element("ol", *map(_sentence, shown), class_="sentences"),
            left_out(len(shown), total, "sentence"),
        ),
        "Under each word the label that the model gave it; where that is wrong, ✗ and the right "
        "label after an arrow.",
    )


def _sentence(sentence: TaggedSentence) -> Markup:
    labelled = list(zip(sentence.tokens, sentence.actual, sentence.predicted, strict=True))
    errors = sum(actual != predicted for _, actual, predicted in labelled)
    words = joined(_word(*item) for item in labelled[:_MOST_TOKENS])
    summary = "all right" if not errors else formats.count(errors, "error")
    tokens = formats.count(len(labelled), "token")
    return element(
        "li",
        element("div", words, class_="words", dir="auto"),
        left_out(min(len(labelled), _MOST_TOKENS), len(labelled), "token"),
        element("p", f"{tokens}, {summary}", class_="quiet"),
    )


def _word(token: str, actual: str, predicted: str) -> Markup:
    if actual == predicted:
        return element("span", element("b", token), element("i", actual), class_="word")
    # The space keeps token and label apart for those who hear or copy the page.
    label = element("i", "✗ ", element("s", predicted), " → ", actual)
    return element("span", element("b", token), label, class_="word error")


@dataclass(frozen=True)
class Recording:
    """A sequence of frames with the actual and the predicted label of each.

    Raises:
        ReportError: the two have not the same length, or it is 0.
    """

    name: str
    actual: Sequence[str]
    predicted: Sequence[str]

    def __post_init__(self) -> None:
        if len(self.actual) != len(self.predicted) or not self.actual:
            raise ReportError(
                f"{self.name}: expected a predicted label for each frame, got "
                f"{len(self.actual)} actual and {len(self.predicted)} predicted labels"
            )


def recordings(shown: Sequence[Recording], total: int) -> Section:
    """Up to eight recordings as strips over time: actual, predicted, and where they differ.

    Args:
        shown: in the order in which they are shown.
        total: how many there are in all.

    Raises:
        ReportError: there are more than `total`.
    """
    _check_total(len(shown), total, "recordings")
    first = shown[:_MOST_RECORDINGS]
    frequency: dict[str, int] = {}
    for recording in first:
        for label in recording.actual:
            frequency[label] = frequency.get(label, 0) + 1
    by_frequency = sorted(frequency, key=lambda label: -frequency[label])
    colours = {label: number for number, label in enumerate(by_frequency[:_MOST_COLOURS])}
    keys = [
        element("li", element("i", class_=f"key colour-{number}"), label)
        for label, number in colours.items()
    ]
    if len(by_frequency) > len(colours):
        keys.append(element("li", element("i", class_="key colour-other"), "another label"))
    return Section(
        "Recordings",
        stacked(
            element("ul", *keys, class_="legend"),
            *(_strips(recording, colours) for recording in first),
            left_out(len(first), total, "recording"),
        ),
        "Each strip runs over the frames of a recording: the actual labels, under them what the "
        "model said, and at the bottom a mark wherever the two differ.",
    )


def _strips(recording: Recording, colours: dict[str, int]) -> Markup:
    size = len(recording.actual)
    wrong = [
        actual != predicted
        for actual, predicted in zip(recording.actual, recording.predicted, strict=True)
    ]
    share = formats.figure(1 - sum(wrong) / size, percent=True)
    shapes = []
    for top, labels in ((0, recording.actual), (22, recording.predicted)):
        for start, stop in _runs(labels):
            colour = f"colour-{colours.get(labels[start], 'other')}"
            shapes.append(_rectangle(start, stop, top, 20, size, colour))
    for start, stop in _runs(wrong):
        if wrong[start]:
            shapes.append(_rectangle(start, stop, 44, 6, size, "differs"))
    strips = element(
        "svg",
        element("title", f"{recording.name}: {share} of {size} frames right"),
        *shapes,
        viewBox="0 0 1000 50",
        preserveAspectRatio="none",
        role="img",
    )
    heading = element(
        "figcaption", element("b", recording.name), f" · {share} right, {size:,} frames"
    )
    rows = element(
        "div", *(element("span", name) for name in ("actual", "model", "✗")), class_="rows"
    )
    return element("figure", heading, element("div", rows, strips, class_="strip"))


def _rectangle(start: int, stop: int, top: int, height: int, size: int, style: str) -> Markup:
    x, width = 1000 * start / size, 1000 * (stop - start) / size
    return element("rect", class_=style, x=x, y=top, width=width, height=height)


def _runs(labels: Sequence[object]) -> list[tuple[int, int]]:
    """The stretches of equal labels, as first and one past the last."""
    changes = [place for place in range(1, len(labels)) if labels[place] != labels[place - 1]]
    return list(zip([0, *changes], [*changes, len(labels)], strict=True))


def _check_total(shown: int, total: int, noun: str) -> None:
    if not 0 < shown <= total:
        raise ReportError(f"expected 1 to {total} of {total} {noun}, got {shown}")
