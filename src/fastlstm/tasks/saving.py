"""Estimators on disk: a folder with `config.json`, `model.safetensors` and what else they need."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, get_args

from fastlstm.config import ConfigError, from_mapping, to_mapping
from fastlstm.tasks.errors import TaskError

FORMAT = 1
"""Of the folder; raised when an older version could not read a newer folder."""


def parameters_as_json(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """An estimator's parameters as JSON values.

    Raises:
        TaskError: one has no such form.
    """
    return {name: _as_json(name, value) for name, value in parameters.items()}


def _as_json(name: str, value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return to_mapping(value)
    if isinstance(value, Mapping):
        # A list of pairs, as JSON would turn keys that are numbers into text.
        return {"pairs": [[key, _as_json(name, item)] for key, item in value.items()]}
    if isinstance(value, (list, tuple)):
        return [_as_json(name, item) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TaskError(f"{name} is a {type(value).__name__}, which cannot be saved")


def parameters_from_json(
    found: Mapping[str, Any], kinds: Mapping[str, Any], where: str
) -> dict[str, Any]:
    """What `parameters_as_json` wrote.

    Args:
        found: the JSON values.
        kinds: which dataclass a parameter is, for those that are one.
        where: what they were read from, for messages.

    Raises:
        ConfigError: a value of another form.
    """
    return {name: _from_json(value, kinds.get(name), where) for name, value in found.items()}


def _from_json(value: Any, kind: Any, where: str) -> Any:
    if isinstance(value, dict) and kind is not None:
        return from_mapping(kind, value, where)
    if isinstance(value, dict):
        if set(value) != {"pairs"}:
            raise ConfigError(f"{where}: expected pairs, got {sorted(value)}")
        return {key: _from_json(item, None, where) for key, item in value["pairs"]}
    return value


def dataclass_of(annotation: Any) -> type | None:
    """The dataclass in `Config | None`; None where there is none."""
    for member in (annotation, *get_args(annotation)):
        if dataclasses.is_dataclass(member):
            return member  # type: ignore[return-value]
    return None
