"""Check a plain value against a type annotation, and convert it: what a configuration may hold."""

from __future__ import annotations

import dataclasses
import difflib
import json
import types
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from fastlstm.config.errors import ConfigError

T = TypeVar("T")

_SCALARS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    Path: "a path",
    type(None): "none",
}


def fields_of(cls: Any) -> dict[str, Any]:
    """The annotation of each field that the constructor of a dataclass takes."""
    hints = get_type_hints(cls)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls) if field.init}


def nearest(key: str, known: Mapping[str, Any]) -> str:
    """What to say of an unknown key: the known one that is like it, or all of them."""
    close = difflib.get_close_matches(key, known, n=1)
    if close:
        return f"did you mean {close[0]}?"
    return f"expected one of {', '.join(known)}" if known else "expected no keys"


def describe(kind: Any) -> str:
    """An annotation in words: "a number or none"."""
    if kind in _SCALARS:
        return _SCALARS[kind]
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return " or ".join(describe(argument) for argument in arguments)
    if origin is Literal:
        return "one of " + ", ".join(str(argument) for argument in arguments)
    if origin is list or (origin is tuple and arguments[-1:] == (Ellipsis,)):
        return f"a list, each {describe(arguments[0])}"
    if origin is tuple:
        return f"a list of {len(arguments)}: {', then '.join(map(describe, arguments))}"
    if origin is dict:
        return f"names, each with {describe(arguments[1])}"
    return "a table of " + ", ".join(fields_of(kind)) if dataclasses.is_dataclass(kind) else "any"


def convert(value: Any, kind: Any, where: str, key: str) -> Any:
    """The value as the annotation `kind` has it.

    Args:
        value: as JSON has it, or already of the kind.
        kind: bool, int, float, str, Path, None, Any, `Literal`, a union, `tuple`, `list`, `dict` of
            such, or a dataclass.
        where: what the configuration was read from, for messages.
        key: the dotted name of the value, for messages; empty for the whole.

    Raises:
        ConfigError: it is not of that kind.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return value if isinstance(value, kind) else _dataclass(value, kind, where, key)
    if origin in (Union, types.UnionType):
        return _union(value, kind, where, key)
    if origin is Literal:
        # 1 == True: the type decides as well.
        if any(type(value) is type(choice) and value == choice for choice in arguments):
            return value
    elif origin in (tuple, list) and isinstance(value, (tuple, list)):
        each = arguments
        if origin is list or arguments[-1:] == (Ellipsis,):
            each = arguments[:1] * len(value)
        if len(each) == len(value):
            converted = [
                convert(item, item_kind, where, f"{key}[{place}]")
                for place, (item, item_kind) in enumerate(zip(value, each, strict=True))
            ]
            return origin(converted)
    elif origin is dict and isinstance(value, Mapping):
        if all(isinstance(name, str) for name in value):
            return {
                name: convert(item, arguments[1], where, f"{key}.{name}")
                for name, item in value.items()
            }
    elif kind is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    elif kind is Path and isinstance(value, (str, Path)):
        return Path(value)
    elif kind in _SCALARS and type(value) is kind:
        return value
    raise ConfigError(f"{where}: {key} is {value!r}: expected {describe(kind)}")


def _union(value: Any, kind: Any, where: str, key: str) -> Any:
    structured = isinstance(value, (Mapping, list, tuple))
    last: ConfigError | None = None
    for member in get_args(kind):
        try:
            return convert(value, member, where, key)
        except ConfigError as error:
            if structured and (get_origin(member) or dataclasses.is_dataclass(member)):
                last = error
    # What is wrong inside the only table or list that it could be says more than all the kinds.
    if last is not None:
        raise last
    raise ConfigError(f"{where}: {key} is {value!r}: expected {describe(kind)}")


def _dataclass(mapping: Any, cls: type[T], where: str, key: str) -> T:
    kinds = fields_of(cls)
    if not isinstance(mapping, Mapping):
        raise ConfigError(f"{where}: {key or 'it'} is {mapping!r}: expected {describe(cls)}")
    prefix = f"{key}." if key else ""
    for name in mapping:
        if name not in kinds:
            raise ConfigError(f"{where}: unknown key {prefix}{name}: {nearest(str(name), kinds)}")
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]
        needed = field.default is field.default_factory is dataclasses.MISSING
        if field.init and needed and field.name not in mapping:
            expected = describe(kinds[field.name])
            raise ConfigError(f"{where}: {prefix}{field.name} is missing: expected {expected}")
    values = {
        name: convert(value, kinds[name], where, prefix + name) for name, value in mapping.items()
    }
    try:
        return cls(**values)
    except (TypeError, ValueError) as error:
        # What the class itself refuses: its message knows neither the file nor the table.
        raise ConfigError(f"{where}: {key + ': ' if key else ''}{error}") from error


def parse(text: str, kind: Any) -> Any:
    """A plain value from what stands on a command line; the text itself where it is of no kind.

    A list is written `a,b` or as JSON, None as `none`, a boolean as `true` or `false`.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is bool:
        return {"true": True, "false": False}.get(text.lower(), text)
    if kind is type(None):
        return None if text.lower() in ("none", "null") else text
    if origin is Literal:
        return next((choice for choice in arguments if str(choice) == text), text)
    if origin in (Union, types.UnionType):
        for member in sorted(arguments, key=lambda member: member is str):
            value = parse(text, member)
            with suppress(ConfigError):
                return convert(value, member, "", "")
        return text
    with suppress(ValueError):
        if kind in (int, float):
            return kind(text)
        if text[:1] in "[{" and text and kind is not str:
            return json.loads(text)
    if origin in (tuple, list):
        pieces = [piece.strip() for piece in text.split(",")] if text.strip() else []
        varying = origin is list or arguments[-1:] == (Ellipsis,)
        each = arguments[:1] * len(pieces) if varying else arguments
        if len(each) == len(pieces):
            return [parse(piece, kind) for piece, kind in zip(pieces, each, strict=True)]
    return text
