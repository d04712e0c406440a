"""What a tuning may choose from: ranges and lists, by the name of a setting."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastlstm.config import ConfigError, from_mapping, to_mapping


@dataclass(frozen=True)
class Whole:
    """Whole numbers from `low` to `high`; `log`: sizes rather than differences count."""

    low: int
    high: int
    log: bool = False


@dataclass(frozen=True)
class Real:
    """Numbers from `low` to `high`; `log`: sizes rather than differences count."""

    low: float
    high: float
    log: bool = False


@dataclass(frozen=True)
class Choice:
    """One of some values, as they are written on a command line."""

    values: tuple[str, ...]


Space = Whole | Real | Choice


def parse_space(text: str) -> tuple[str, Space]:
    """Read what is to be searched: `KEY=LOW..HIGH`, `KEY=LOW..HIGH:log` or `KEY=A,B,C`.

    >>> parse_space("lstm.hidden_size=32..256:log")
    ('lstm.hidden_size', Whole(low=32, high=256, log=True))

    Raises:
        ConfigError: it has another form, or the range is empty.
    """
    key, equals, values = text.partition("=")
    if not equals or not key.strip() or not values.strip():
        raise ConfigError(f"{text!r} is no range: expected KEY=LOW..HIGH[:log] or KEY=A,B,C")
    if ".." not in values:
        choices = tuple(value.strip() for value in values.split(","))
        return key.strip(), Choice(choices)
    ends, _, scale = values.partition(":")
    first, _, last = ends.partition("..")
    try:
        low, high = float(first), float(last)
    except ValueError as error:
        raise ConfigError(f"{text!r}: {ends!r} is no range of numbers") from error
    if scale not in ("", "log"):
        raise ConfigError(f"{text!r} ends in {scale!r}: expected 'log' or nothing")
    if not low < high or (scale and low <= 0):
        expected = "0 < LOW < HIGH" if scale else "LOW < HIGH"
        raise ConfigError(f"{text!r} is an empty range: expected {expected}")
    if first.strip().lstrip("-").isdigit() and last.strip().lstrip("-").isdigit():
        return key.strip(), Whole(int(first), int(last), bool(scale))
    return key.strip(), Real(low, high, bool(scale))


def space_to_json(space: Space) -> dict[str, Any]:
    """For JSON: the name of the kind, and its fields."""
    return {"kind": type(space).__name__, **to_mapping(space)}


def space_from(found: Mapping[str, Any]) -> Space:
    """What `space_to_json` wrote.

    Raises:
        KeyError, ConfigError: it is no such thing.
    """
    kind = {"Whole": Whole, "Real": Real, "Choice": Choice}[found["kind"]]
    return from_mapping(kind, {k: v for k, v in found.items() if k != "kind"}, "the space")
