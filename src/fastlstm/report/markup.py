"""HTML that cannot be broken by what it shows: every text is escaped unless it is `Markup`."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable

# Control characters that HTML forbids, and halves of surrogate pairs, which UTF-8 cannot hold.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_VOID = {"br", "img", "link", "meta"}


class Markup(str):
    """Text that is HTML already, and goes into a page as it is."""

    __slots__ = ()


def escaped(text: str) -> Markup:
    """`text` as HTML that shows it; `Markup` comes back as it is.

    Characters that no HTML file may hold are shown as U+FFFD.
    """
    if isinstance(text, Markup):
        return text
    return Markup(html.escape(_FORBIDDEN.sub("\ufffd", text), quote=True))


def joined(parts: Iterable[str]) -> Markup:
    """The parts one after the other, each escaped unless it is `Markup`."""
    return Markup("".join(escaped(part) for part in parts))


def element(name: str, /, *children: str, **attributes: str | float | bool | None) -> Markup:
    """One HTML or SVG element: ``element("td", "a < b", class_="number")``.

    Args:
        name: of the element; trusted.
        children: texts, escaped, and `Markup`.
        attributes: values are escaped; None and False leave the attribute out, True gives it no
            value. A last underscore is dropped and others become hyphens: `class_`,
            `stroke_width`.
    """
    opening = name + "".join(
        f" {_attribute_name(key)}" if value is True else f' {_attribute_name(key)}="{_text(value)}"'
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    if name in _VOID:
        return Markup(f"<{opening}>")
    return Markup(f"<{opening}>{joined(children)}</{name}>")


def _attribute_name(key: str) -> str:
    # SVG's viewBox has no hyphen and needs its capital; Python takes it as it is.
    return key.removesuffix("_").replace("_", "-")


def _text(value: str | float) -> Markup:
    return escaped(value if isinstance(value, str) else f"{value:.6g}")
