"""How a classifier does class by class: which it takes for which, and how well it finds each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fastlstm.report import formats
from fastlstm.report.errors import ReportError
from fastlstm.report.markup import Markup, element
from fastlstm.report.section import Section, bar, left_out, scrolling, stacked, table

_MOST_CLASSES = 20
_MOST_CONFUSIONS = 10
_MOST_LABELS = 50


@dataclass(frozen=True)
class Confusion:
    """How often each class was taken for each.

    Attributes:
        classes: their names, K of them.
        counts: `(K, K)` whole numbers; row: the actual class, column: the predicted one.

    Raises:
        ReportError: `counts` has another shape or a negative number, or there is no class.
    """

    classes: Sequence[str]
    counts: NDArray[np.integer]

    def __post_init__(self) -> None:
        size = len(self.classes)
        if self.counts.shape != (size, size) or size == 0:
            raise ReportError(
                f"expected counts of shape ({size}, {size}) for {size} classes, "
                f"got {self.counts.shape}"
            )
        if (self.counts < 0).any():
            raise ReportError(f"expected counts of at least 0, got {self.counts.min()}")


def confusion_matrix(confusion: Confusion) -> Section:
    """The matrix as a heat map, and the most frequent confusions.

    Of more than 20 classes the matrix has those with the most mistakes.
    """
    counts = confusion.counts
    size = len(confusion.classes)
    wrong = counts.sum(axis=0) + counts.sum(axis=1) - 2 * np.diag(counts)
    chosen = np.sort(np.argsort(-wrong, kind="stable")[:_MOST_CLASSES]).tolist()
    others = left_out(len(chosen), size, "class with fewer mistakes", "classes with fewer mistakes")
    body = element(
        "div",
        element("div", _matrix(confusion, chosen), others),
        element("div", _most_frequent(confusion)),
        class_="beside",
    )
    return Section(
        "Confusion matrix",
        body,
        "Rows are what it was, columns what the model said. Outlined cells on the diagonal are "
        "right; the deeper another cell, the more frequent that mistake.",
    )


def _matrix(confusion: Confusion, chosen: list[int]) -> Markup:
    names = [confusion.classes[index] for index in chosen]
    totals = confusion.counts.sum(axis=1)
    shares = confusion.counts / np.maximum(totals, 1)[:, None]
    # Of a good model every mistake is rare: beside the most frequent one they can be told apart.
    depths = shares / max((shares - np.diag(np.diag(shares))).max(), 1e-12)
    np.fill_diagonal(depths, np.diag(shares))
    rows = []
    for row, name in zip(chosen, names, strict=True):
        cells = [
            _cell(int(confusion.counts[row, column]), depths[row, column], right=row == column)
            for column in chosen
        ]
        rows.append(element("tr", _name(name, "row"), *cells))
    heads = [_name(name, "col") for name in names]
    corner = element("th", "predicted →", element("br"), "actual ↓", scope="col", class_="corner")
    long = any(len(name) > 4 for name in names)
    caption = "Confusion matrix: examples by actual and predicted class"
    return scrolling(
        element(
            "table",
            element("caption", caption),
            element("thead", element("tr", corner, *heads)),
            element("tbody", *rows),
            class_="matrix upright" if long else "matrix",
        ),
        caption,
    )


def _name(name: str, scope: str) -> Markup:
    # The style sheet cuts a long name short; it then shows whole under the pointer.
    return element("th", element("span", name, title=name), scope=scope)


def _cell(count: int, depth: float, *, right: bool) -> Markup:
    return element(
        "td",
        f"{count:,}" if count else "·",
        class_=("right" if right else "wrong") + " none" * (not count),
        style=f"--depth: {depth:.3f}" if count else None,
    )


def _most_frequent(confusion: Confusion) -> Markup:
    mistakes = confusion.counts - np.diag(np.diag(confusion.counts))
    order = np.argsort(-mistakes, axis=None, kind="stable")
    pairs = [divmod(int(place), len(confusion.classes)) for place in order[:_MOST_CONFUSIONS]]
    pairs = [(actual, predicted) for actual, predicted in pairs if mistakes[actual, predicted]]
    if not pairs:
        return element("p", "No example was taken for another class.")
    totals = confusion.counts.sum(axis=1)
    rows = []
    for actual, predicted in pairs:
        number = int(mistakes[actual, predicted])
        share = number / int(totals[actual])
        rows.append(
            [
                confusion.classes[actual],
                element("td", confusion.classes[predicted], class_="text"),
                f"{number:,}",
                formats.figure(share, percent=True),
            ]
        )
    head = ["actual", "taken for", "times", "of the actual"]
    return stacked(
        element("h3", "Most frequent confusions"),
        table("Most frequent confusions", head, rows),
        left_out(len(pairs), int((mistakes > 0).sum()), "rarer confusion"),
    )


@dataclass(frozen=True)
class LabelScores:
    """Precision, recall and F1 of each label, as shares; NaN where undefined.

    Attributes:
        labels: their names.
        precision: one for each label, as are the others.
        recall: of each label.
        f1: of each label.
        support: how many examples have the label.

    Raises:
        ReportError: a list has not one value for each label.
    """

    labels: Sequence[str]
    precision: Sequence[float]
    recall: Sequence[float]
    f1: Sequence[float]
    support: Sequence[int]

    def __post_init__(self) -> None:
        for name in ("precision", "recall", "f1", "support"):
            if len(getattr(self, name)) != len(self.labels):
                raise ReportError(
                    f"{name}: expected a value for each of {len(self.labels)} labels, "
                    f"got {len(getattr(self, name))}"
                )


def label_scores(scores: LabelScores) -> Section:
    """Precision, recall and F1 of the 50 most frequent labels, the most frequent first."""
    order = sorted(range(len(scores.labels)), key=lambda index: -scores.support[index])
    rows = [
        [
            scores.labels[index],
            *(
                bar(values[index], formats.figure(values[index], percent=True))
                for values in (scores.precision, scores.recall, scores.f1)
            ),
            f"{scores.support[index]:,}",
        ]
        for index in order[:_MOST_LABELS]
    ]
    head = ["label", "precision", "recall", "F1", "examples"]
    return Section(
        "Label by label",
        stacked(
            table("Precision, recall and F1 of each label", head, rows),
            left_out(len(rows), len(order), "rarer label"),
        ),
        "Precision: how often the model is right where it says the label. Recall: how many of the "
        "label's examples it finds. F1: their harmonic mean.",
    )
