"""The settings of a run: the parameters of its estimator, typed."""

from __future__ import annotations

import dataclasses
import inspect
import types
from collections.abc import Iterable, Mapping
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from fastlstm.config import from_mapping, read_mapping, with_overrides


def settings_of(estimator: type) -> type[Any]:
    """A dataclass of an estimator's parameters, as its constructor has them.

    Where the estimator has a `default_lstm` or a `default_training`, these stand in place of the
    None with which its constructor asks for them: what can be read in a run folder is then all
    that was used.
    """
    hints = get_type_hints(estimator.__init__)
    fields: list[tuple[str, Any, Any]] = []
    for name, parameter in inspect.signature(estimator).parameters.items():
        default = getattr(estimator, f"default_{name}", parameter.default)
        kind = _checkable(hints[name])
        fields.append((name, kind, dataclasses.field(default=default)))
    return dataclasses.make_dataclass(f"{estimator.__name__}Settings", fields, frozen=True)


def parameters(settings: Any) -> dict[str, Any]:
    """The arguments for the estimator's constructor."""
    return {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}


def read_settings(kind: type[Any], path: Path | None, overrides: Iterable[str] = ()) -> Any:
    """Settings from a file and from `NAME=VALUE` on a command line, the later ones first.

    A table of the file, such as `[training]`, changes the keys that it has and leaves the
    estimator's defaults for the others.

    Args:
        kind: what `settings_of` made.
        path: a TOML, YAML or JSON file; None: the defaults.
        overrides: `NAME=VALUE`, `lstm.hidden_size=64`.

    Raises:
        ConfigError: as `fastlstm.config.from_mapping` and `with_overrides`.
    """
    settings = kind()
    if path is not None:
        found = read_mapping(path)
        defaults = {name: value for name, value in parameters(settings).items() if name in found}
        merged = {name: _merged(defaults.get(name), value) for name, value in found.items()}
        settings = from_mapping(kind, merged, str(path))
    return with_overrides(settings, overrides)


def _merged(default: Any, value: Any) -> Any:
    """A table of a file over the defaults of that table; what is no table, as it is."""
    if not dataclasses.is_dataclass(default) or not isinstance(value, Mapping):
        return value
    fields = {field.name: getattr(default, field.name) for field in dataclasses.fields(default)}
    return {**fields, **value}


def _checkable(annotation: Any) -> Any:
    """The annotation in the kinds that a configuration has: any mapping is one with text keys."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return reduce(or_, [_checkable(argument) for argument in arguments])
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return dict[str, _checkable(arguments[1])]
    return annotation
