"""Read a configuration file: TOML, YAML or JSON, told apart by the suffix."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastlstm.config.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pyright: ignore[reportMissingImports]  (below Python 3.11)


def read_mapping(path: str | Path) -> dict[str, Any]:
    """Read the mapping that a configuration file holds.

    Args:
        path: a file whose name ends in `.toml`, `.yaml`, `.yml` or `.json`, in UTF-8.

    Returns:
        Its content: dicts, lists, strings, numbers, booleans and None.

    Raises:
        ConfigError: the file cannot be read, has another suffix, is not valid (the message names
            the line), gives a key twice, or holds something other than a mapping.
    """
    path = Path(path)
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise ConfigError(f"{path} ends in {path.suffix!r}: expected one of {', '.join(_READERS)}")
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text: {error.reason}") from error
    content = reader(text, path)
    if not isinstance(content, dict):
        raise ConfigError(f"{path} holds no mapping: expected keys and their values")
    for key in content:
        if not isinstance(key, str):
            raise ConfigError(f"{path} has the key {key!r}: expected a name")
    return content


def _read_toml(text: str, path: Path) -> Any:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        # Its message ends in the place, or in "at end of document"; the line as for the others.
        place = re.search(r" \(at (?:line (\d+), column \d+|end of document)\)$", str(error))
        message = str(error)[: place.start()] if place else str(error)
        line = place.group(1) if place and place.group(1) else max(1, len(text.splitlines()))
        raise _invalid(path, "TOML", line, message) from error


def _read_json(text: str, path: Path) -> Any:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                raise ConfigError(f"{path} gives the key {key!r} twice")
            found[key] = value
        return found

    try:
        return json.loads(text, object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        raise _invalid(path, "JSON", error.lineno, error.msg) from error


def _read_yaml(text: str, path: Path) -> Any:
    import yaml  # of [tasks]; the other kinds must be readable without it

    class Loader(yaml.SafeLoader):
        """YAML 1.2's numbers, so that 1e-3 is one; and no key twice."""

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            seen = set()
            for key_node, _ in node.value:
                if key_node.value in seen:
                    line = key_node.start_mark.line + 1
                    message = f"the key {key_node.value!r} is given twice"
                    raise _invalid(path, "YAML", line, message)
                if isinstance(key_node.value, str):
                    seen.add(key_node.value)
            return super().construct_mapping(node, deep)

    Loader.add_implicit_resolver(
        "tag:yaml.org,2002:float",
        re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+$"),
        list("-+.0123456789"),
    )
    try:
        return yaml.load(text, Loader)  # a SafeLoader: makes plain values only
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise _invalid(path, "YAML", line, error.problem or str(error)) from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from error


def _invalid(path: Path, kind: str, line: int | str, message: str) -> ConfigError:
    return ConfigError(f"{path}, line {line}: not valid {kind}: {message}")


_READERS: dict[str, Callable[[str, Path], Any]] = {
    ".toml": _read_toml,
    ".yaml": _read_yaml,
    ".yml": _read_yaml,
    ".json": _read_json,
}
