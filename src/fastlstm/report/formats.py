"""Numbers, shares and times as people read them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

MISSING = "–"
_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
SPACE = "\u00a0"  # a number and its unit stay on one line


def figure(value: float | None, *, percent: bool = False) -> str:
    """A result: four significant digits, or a share as a percentage with two decimals.

    ``0.07313``, ``1,234``, ``98.97 %``. None and NaN, where there is no result, are a dash.
    """
    if value is None or math.isnan(value):
        return MISSING
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if percent:
        return _minus(f"{100 * value:,.2f}{SPACE}%")
    return _significant(value, 4)


def difference(value: float, other: float, *, percent: bool = False) -> str:
    """`value` less `other`: ``−0.0589 (−23 %)``; shares differ by points: ``+1.25 points``."""
    change = value - other
    sign = "+" if change > 0 else ""
    if percent:
        return sign + _minus(f"{100 * change:.2f}{SPACE}points")
    if other <= 0:
        return sign + _significant(change, 3)
    relative = 100 * change / other
    rounded = _minus(f"{relative:,.{0 if abs(relative) >= 10 else 1}f}")
    return f"{sign}{_significant(change, 3)} ({sign}{rounded}{SPACE}%)"


def count(value: int, noun: str, plural: str | None = None) -> str:
    """``1 mistake``, ``1,234 mistakes``."""
    return f"{value:,}{SPACE}{noun if value == 1 else plural or noun + 's'}"


def tick_labels(values: Sequence[float], *, percent: bool = False) -> list[str]:
    """The labels of an axis: as many digits as its steps need, and k, M, G or T for large values.

    >>> tick_labels([0, 5_000, 10_000]), tick_labels([0.9, 0.95, 1.0], percent=True)
    (['0', '5k', '10k'], ['90%', '95%', '100%'])
    """
    scaled = [100 * value if percent else value for value in values]
    steps = [abs(after - before) for before, after in pairwise(scaled)]
    step = min((step for step in steps if step), default=abs(scaled[0]) or 1.0)
    largest = max(abs(value) for value in scaled)
    unit, prefix = next(
        # Four digits are read as easily as a prefix.
        ((unit, name) for unit, name in _PREFIXES if largest >= max(unit, 1e4)),
        (1.0, ""),
    )
    if largest >= 1e16 or step < 1e-5:
        return ["0" if value == 0 else _minus(f"{value:.2g}") + "%" * percent for value in scaled]
    decimals = _decimals(step / unit)
    return [_tick(value / unit, decimals, prefix + "%" * percent) for value in scaled]


def duration(seconds: float) -> str:
    """A time that something took: ``0.4 s``, ``42 s``, ``3 min 5 s``, ``2 h 10 min``."""
    if seconds < 9.95:
        return f"{seconds:.1f}{SPACE}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}{SPACE}s"
    if whole < 3600:
        return f"{whole // 60}{SPACE}min {whole % 60}{SPACE}s"
    minutes = round(seconds / 60)
    return f"{minutes // 60:,}{SPACE}h {minutes % 60}{SPACE}min"


def _significant(value: float, digits: int) -> str:
    size = abs(value)
    if size == 0:
        return "0"
    if size >= 1e7 or size < 1e-4:
        return _minus(f"{value:.{digits - 1}e}")
    decimals = max(0, digits - 1 - math.floor(math.log10(size)))
    return _minus(f"{value:,.{decimals}f}")


def _tick(value: float, decimals: int, suffix: str) -> str:
    text = f"{value:,.{decimals}f}"
    if not text.strip("-0."):
        return "0" + suffix * suffix.endswith("%")
    return _minus(text) + suffix


def _decimals(step: float) -> int:
    for decimals in range(7):
        scaled = step * 10**decimals
        if abs(scaled - round(scaled)) < 1e-6 * max(1.0, scaled):
            return decimals
    return 7


def _minus(text: str) -> str:
    return text.replace("-", "−") if text.startswith("-") else text
