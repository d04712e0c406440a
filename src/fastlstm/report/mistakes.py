"""The mistakes that a classifier was surest of, with what it saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fastlstm.report import formats
from fastlstm.report.charts import sketch
from fastlstm.report.errors import ReportError
from fastlstm.report.markup import Markup, element
from fastlstm.report.png import data_address
from fastlstm.report.section import Section, left_out, stacked

_MOST_MISTAKES = 24
_LONGEST_TEXT = 600


@dataclass(frozen=True)
class Mistake:
    """One example that was taken for another class.

    Attributes:
        example: what the model saw: a sentence, a picture `(height, width)` or
            `(height, width, 3)` of dtype uint8, or a sequence `(T,)` or `(T, F)` of floats.
        actual: its class.
        predicted: the class that the model said.
        probability: which it gave to `predicted`, from 0 to 1.
    """

    example: str | NDArray[np.uint8] | NDArray[np.floating]
    actual: str
    predicted: str
    probability: float


def worst_mistakes(mistakes: Sequence[Mistake], total_mistakes: int, examples: int) -> Section:
    """The 24 mistakes with the highest probability, the surest first.

    Args:
        mistakes: in any order; at least the worst of them.
        total_mistakes: how many the model made in all.
        examples: how many it was tried on.

    Raises:
        ReportError: there are more mistakes than `total_mistakes`, or those than examples.
    """
    if not len(mistakes) <= total_mistakes <= examples:
        raise ReportError(
            f"expected at most as many mistakes as were made, of as many examples: got "
            f"{len(mistakes)} mistakes of {total_mistakes} among {examples} examples"
        )
    worst = sorted(mistakes, key=lambda mistake: -mistake.probability)[:_MOST_MISTAKES]
    pictures = [_picture(mistake) for mistake in worst if not isinstance(mistake.example, str)]
    texts = [_text(mistake) for mistake in worst if isinstance(mistake.example, str)]
    return Section(
        "Worst mistakes",
        stacked(
            element("ul", *pictures, class_="pictures") if pictures else Markup(),
            element("ol", *texts, class_="texts") if texts else Markup(),
            left_out(len(worst), total_mistakes, "mistake"),
        ),
        f"{formats.count(total_mistakes, 'mistake')} in {formats.count(examples, 'example')}; "
        "first those of which the model was surest.",
    )


def _picture(mistake: Mistake) -> Markup:
    pixels = np.asarray(mistake.example)
    described = f"{mistake.actual}, taken for {mistake.predicted}"
    if np.issubdtype(pixels.dtype, np.floating):
        return element("li", sketch(pixels, described), _said(mistake))
    height, width = pixels.shape[:2]
    image = element(
        "img",
        src=data_address(pixels),
        alt=described,
        width=width,
        height=height,
        # Few pixels are shown as squares: blurred, they would not be what the model saw.
        class_="pixels" if max(height, width) <= 64 else None,
    )
    return element("li", image, _said(mistake))


def _text(mistake: Mistake) -> Markup:
    text = str(mistake.example)
    if len(text) > _LONGEST_TEXT:
        text = text[:_LONGEST_TEXT].rstrip() + "…"
    return element("li", element("p", text, dir="auto"), _said(mistake))


def _said(mistake: Mistake) -> Markup:
    return element(
        "p",
        element("span", "✗ ", element("b", mistake.predicted), class_="worse"),
        " ",
        element("span", formats.figure(mistake.probability, percent=True), class_="quiet"),
        element("br"),
        element("span", "✓ ", element("b", mistake.actual), class_="better"),
        class_="said",
    )
