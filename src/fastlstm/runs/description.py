"""The JSON that stands in the folder of a run or a search: its task, its data, its settings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from fastlstm.atomic import write_atomically
from fastlstm.config import ConfigError, from_mapping, to_mapping
from fastlstm.runs.errors import RunError
from fastlstm.runs.task import DataConfig, Task
from fastlstm.runs.tasks import find_task
from fastlstm.training import RunFolderError
from fastlstm.training.folder import read_object

FORMAT = 1


class Description(NamedTuple):
    """What a run is made of.

    Attributes:
        task: what it is about.
        data: where the data are and how they are read.
        settings: the parameters of the estimator.
        others: what else stands in the file, as JSON values.
    """

    task: Task
    data: DataConfig
    settings: Any
    others: Mapping[str, Any] = {}


def read_description(path: Path) -> Description:
    """Read what `write_description` wrote.

    Raises:
        RunFolderError: the file is missing or damaged.
    """
    found = read_object(path)
    if found.get("format") != FORMAT:
        raise RunFolderError(f"{path} has format {found.get('format')!r}: expected {FORMAT}")
    try:
        task = find_task(found["task"])
        data = from_mapping(task.data, found["data"], str(path))
        settings = from_mapping(task.settings, found["settings"], str(path))
    except (ConfigError, RunError) as error:
        raise RunFolderError(str(error)) from error
    except (KeyError, AttributeError, TypeError) as error:
        raise RunFolderError(f"{path} is damaged: {error!r}") from error
    return Description(task, data, settings, found)


def write_description(path: Path, description: Description) -> None:
    """Write the file, and make its folder; the paths in it are absolute.

    Raises:
        RunFolderError: the disk refuses.
    """
    task, data, settings, others = description
    found = {
        "format": FORMAT,
        "task": task.name,
        "data": to_mapping(_absolute_paths(task, data)),
        "settings": to_mapping(settings),
        **others,
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(found, indent=2, ensure_ascii=False) + "\n")
    except OSError as error:
        raise RunFolderError(f"cannot write {path.parent}: {error.strerror}") from error


def _absolute_paths(task: Task, data: DataConfig) -> DataConfig:
    """The data with absolute paths, so that they are found from whatever folder."""
    others: dict[str, Any] = {
        name: path.absolute()
        for name, path in (("validation", data.validation), ("test", data.test))
        if path is not None
    }
    if data.source not in task.sets:
        others["source"] = str(Path(data.source).absolute())
    return replace(data, **others)
