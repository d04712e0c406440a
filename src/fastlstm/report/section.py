"""What a page is made of: a section with its title, and the tables that several kinds share."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fastlstm.report import formats
from fastlstm.report.markup import Markup, element, joined


@dataclass(frozen=True)
class Section:
    """One part of a page.

    Attributes:
        title: its heading.
        body: what it shows.
        note: a sentence under the heading on how to read it.
    """

    title: str
    body: Markup
    note: str = ""


def table(caption: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> Markup:
    """A table whose first column names the rows; wider than the page, it scrolls by itself.

    Args:
        caption: what the table shows, for those who hear it.
        head: a title for each column.
        rows: a cell for each column; a cell that is a `td` element already is taken as it is.
    """
    body = [
        element(
            "tr",
            element("th", first, scope="row"),
            *(cell if cell.startswith("<td") else element("td", cell) for cell in others),
        )
        for first, *others in rows
    ]
    return scrolling(
        element(
            "table",
            element("caption", caption),
            element("thead", element("tr", *(element("th", name, scope="col") for name in head))),
            element("tbody", *body),
        ),
        caption,
    )


def scrolling(content: Markup, name: str) -> Markup:
    """`content` in a box that scrolls sideways; with a keyboard too, for which it has a name."""
    return element("div", content, class_="scroll", tabindex="0", role="region", aria_label=name)


def bar(share: float, text: str) -> Markup:
    """A cell with a number and, under it, a bar as long as a share of the cell; NaN has no bar."""
    width = 0.0 if math.isnan(share) else 100 * min(max(share, 0.0), 1.0)
    filled = element("i", style=f"width: {width:.1f}%")
    return element("td", text, element("span", filled, class_="bar"), class_="with-bar")


def left_out(shown: int, total: int, noun: str, plural: str | None = None) -> Markup:
    """A line that says how many of a list are not shown; nothing where all are."""
    if shown >= total:
        return Markup()
    text = f"{formats.count(total - shown, noun, plural)} not shown, of {total:,} in all."
    return element("p", text, class_="left-out")


def stacked(*parts: Markup) -> Markup:
    """Parts one below the other."""
    return joined(parts)
