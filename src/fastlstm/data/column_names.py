"""The names of a table's columns, in errors: a few of many, and the one that may be meant."""

import difflib
from collections.abc import Sequence
from typing import Any

from fastlstm.data.errors import DataError

MANY_NAMES = 12
"""More columns than an error names."""


def check_columns(shown: Any, wanted: Sequence[str], names: Sequence[str]) -> None:
    """Raise unless a table has some columns.

    Args:
        shown: what errors call the table.
        wanted: the columns.
        names: those that it has.

    Raises:
        DataError: one is not there; the message names those that are, and one that looks alike.
    """
    known = set(names)
    for name in wanted:
        if name not in known:
            alike = _alike(name, names)
            question = "" if alike is None else f" did you mean {alike!r}?"
            raise DataError(f"{shown} has no column {name!r}:{question} it has {_listed(names)}")


def _alike(name: str, names: Sequence[str]) -> str | None:
    """The name that may be meant; never another number, as t1 is for t10."""
    plain = {_plain(other): other for other in reversed(names)}
    if _plain(name) in plain:
        return plain[_plain(name)]
    others = [other for other in plain if _letters(other) != _letters(name)]
    found = difflib.get_close_matches(_plain(name), others, 1)
    return plain[found[0]] if found else None


def _plain(name: str) -> str:
    return name.strip().casefold()


def _letters(name: str) -> str:
    return "".join(sign for sign in _plain(name) if not sign.isdecimal())


def _listed(names: Sequence[str]) -> str:
    """Names in a line; of many the first and the last."""
    if len(names) <= MANY_NAMES:
        return ", ".join(names)
    first = ", ".join(names[: MANY_NAMES - 2])
    return f"{first}, … {', '.join(names[-2:])} ({len(names):,} in all)"
