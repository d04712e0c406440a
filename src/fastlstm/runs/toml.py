"""Settings as TOML: what differs from the defaults, to be read and changed by people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from fastlstm.config import ConfigError, to_mapping


def settings_as_toml(settings: Any) -> str:
    """The settings that differ from the defaults, as `train --config` takes them.

    Raises:
        ConfigError: a setting is None where its default is not: TOML has no such value.
    """
    return to_toml(_changes(to_mapping(settings), to_mapping(type(settings)()), ""))


def _changes(found: Mapping[str, Any], default: Mapping[str, Any], above: str) -> dict[str, Any]:
    changed: dict[str, Any] = {}
    for name, value in found.items():
        if isinstance(value, Mapping) and isinstance(default.get(name), Mapping):
            inner = _changes(value, default[name], f"{above}{name}.")
            if inner:
                changed[name] = inner
        elif value != default.get(name):
            if value is None:
                raise ConfigError(f"{above}{name} is none, which TOML cannot hold")
            changed[name] = value
    return changed


def to_toml(mapping: Mapping[str, Any]) -> str:
    """A mapping of JSON values as TOML 1.0; keys that are None are left out."""
    return "\n".join(_lines(mapping, "")).lstrip("\n") + "\n"


def _lines(mapping: Mapping[str, Any], table: str) -> list[str]:
    plain = {name: value for name, value in mapping.items() if not isinstance(value, Mapping)}
    lines = [f"{_key(name)} = {_value(v)}" for name, v in plain.items() if v is not None]
    if lines and table:
        lines = ["", f"[{table}]", *lines]
    for name, value in mapping.items():
        if isinstance(value, Mapping):
            lines += _lines(value, f"{table}.{_key(name)}" if table else _key(name))
    return lines


def _key(name: str) -> str:
    bare = name and all(sign.isascii() and (sign.isalnum() or sign in "-_") for sign in name)
    return name if bare else _text(name)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_value, value))}]"
    return _text(value) if isinstance(value, str) else repr(value)


def _text(text: str) -> str:
    # JSON's escapes are TOML's, which also wants the one control character that JSON lets stand.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
