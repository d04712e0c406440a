"""Dataclasses from mappings and back, and from `key=value` on a command line."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin

from fastlstm.config.errors import ConfigError
from fastlstm.config.kinds import convert, fields_of, nearest, parse

T = TypeVar("T")


def from_mapping(cls: type[T], mapping: Mapping[str, Any], where: str) -> T:
    """Make a dataclass from a mapping, with every key and type checked.

    Args:
        cls: a dataclass whose fields are bool, int, float, str, Path, None, `Literal`, unions,
            tuples, lists, dicts with text as keys, Any, and dataclasses of such. A whole number
            serves where a number is expected.
        mapping: its fields by name, nested ones as mappings; what is absent keeps its default.
        where: what the mapping was read from; each message begins with it.

    Raises:
        ConfigError: a key is unknown (the message has the known one that is nearest) or missing, a
            value is of another type, or the class itself refuses a value.
    """
    return convert(mapping, cls, where, "")


def to_mapping(value: Any) -> dict[str, Any]:
    """The fields of a dataclass by name, as JSON has them: the inverse of `from_mapping`."""
    return {field: _plain(getattr(value, field)) for field in fields_of(type(value))}


def with_overrides(config: T, assignments: Iterable[str]) -> T:
    """A copy of a dataclass with some fields replaced.

    Args:
        config: the dataclass.
        assignments: `name=value` each, `table.name=value` for a field of a field; a list is
            written `a,b`, nothing as `none`. Later ones win.

    Raises:
        ConfigError: as for `from_mapping`, or an assignment has another form.
    """
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"{assignment!r} sets nothing: expected NAME=VALUE")
        config = _replaced(config, key.strip().split("."), text.strip(), assignment)
    return config


def _replaced(config: Any, path: list[str], text: str, where: str) -> Any:
    name, *rest = path
    kinds = fields_of(type(config))
    if name not in kinds:
        raise ConfigError(f"{where}: unknown key {name}: {nearest(name, kinds)}")
    if not rest:
        value = convert(parse(text, kinds[name]), kinds[name], where, name)
    else:
        inner = getattr(config, name)
        if inner is None:
            inner = _empty_table(kinds[name], name, where)
        if not dataclasses.is_dataclass(inner):
            raise ConfigError(f"{where}: {name} has no keys of its own")
        value = _replaced(inner, rest, text, where)
    try:
        return dataclasses.replace(config, **{name: value})
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{where}: {error}") from error


def _empty_table(kind: Any, name: str, where: str) -> Any:
    """The defaults of the dataclass in `Table | None`, as a key of it is about to be set."""
    members = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else ()
    tables = [member for member in members if dataclasses.is_dataclass(member)]
    return convert({}, tables[0], where, name) if tables else None


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return to_mapping(value)
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
