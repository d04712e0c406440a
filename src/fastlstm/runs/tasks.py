"""The tasks by name. A module is imported when its task is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

from fastlstm.runs.errors import RunError
from fastlstm.runs.task import Task

# Where each task's class is: module and name.
TASKS: Mapping[str, tuple[str, str]] = {
    "classify": ("classification", "Classification"),
    "text": ("text", "TextClassification"),
    "tag": ("tagging", "Tagging"),
    "forecast": ("forecasting", "Forecasting"),
}


def find_task(name: str) -> Task:
    """The task of a name.

    Raises:
        RunError: there is none.
    """
    if name not in TASKS:
        raise RunError(f"unknown task {name!r}: expected one of {', '.join(TASKS)}")
    module, found = TASKS[name]
    return getattr(import_module(f"fastlstm.runs.{module}"), found)()
