"""`train` and `tune`: a command for each task, made when it is called.

Made of the task's dataclasses, and not before one asks for it: a task brings scikit-learn and more,
and `fastlstm --help` should not wait for them.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
import typer.core
import typer.main
from rich.console import Console

from fastlstm.cli.options import RUN_PANEL, Option, data_options, settings_options, with_signature

SUMMARIES: Mapping[str, str] = {
    "classify": "Name whole sequences: sensors, recordings, images read row by row.",
    "text": "Name texts: reviews, messages, sentences.",
    "tag": "Name each step of a sequence: words of sentences, frames of recordings.",
    "forecast": "Forecast series: sales, loads, traffic, one or many, with intervals.",
}


class TaskGroup(typer.core.TyperGroup):
    """A command for each task; only the one that is called is made in full."""

    make: Callable[[str], Any]

    def list_commands(self, ctx: Any) -> list[str]:
        """The names of the tasks."""
        return list(SUMMARIES)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A command that has its name and summary alone."""
        if cmd_name not in SUMMARIES:
            return None
        return _command(lambda values: None, cmd_name, [])

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that is called, with all its options."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, self.make(name) if command is not None and name else command, rest


class TrainGroup(TaskGroup):
    """`fastlstm train`."""

    def make(self, name: str) -> Any:
        """The command that trains for a task."""
        from fastlstm.cli.training import start
        from fastlstm.runs import find_task

        task = find_task(name)
        options = [
            *data_options(task.data),
            *settings_options(task.settings()),
            Option("output", Path, _OUTPUT, RUN_PANEL, "runs/SOURCE-DATE-TIME", "FOLDER"),
            Option("resume", Path, _RESUME, RUN_PANEL, None, "FOLDER"),
        ]
        return _command(
            lambda values: start(task, values, _console()), name, [_source(task.sets), *options]
        )


_OUTPUT = "New or empty folder for the run."
_RESUME = "Go on with an interrupted run, in place of all other options."


_TUNE_OUTPUT = "New or empty folder for the search."
_TUNE_RESUME = "Go on with a search, in place of all other options but --trials."
_TRIALS = "Trainings in all; those before a --resume count."
_SEARCH = (
    "What is searched, in place of the task's own space: KEY=LOW..HIGH, KEY=LOW..HIGH:log or "
    "KEY=A,B,C. May be repeated."
)


class TuneGroup(TaskGroup):
    """`fastlstm tune`."""

    def make(self, name: str) -> Any:
        """The command that searches settings for a task."""
        from fastlstm.cli.tuning import TRIALS, tune
        from fastlstm.runs import find_task

        task = find_task(name)
        options = [
            *data_options(task.data),
            *settings_options(task.settings()),
            Option("trials", int, _TRIALS, RUN_PANEL, str(TRIALS), "INTEGER"),
            Option("search", list[str], _SEARCH, RUN_PANEL, None, "KEY=…"),
            Option("output", Path, _TUNE_OUTPUT, RUN_PANEL, "runs/tune-SOURCE-DATE-TIME", "FOLDER"),
            Option("resume", Path, _TUNE_RESUME, RUN_PANEL, None, "FOLDER"),
        ]
        return _command(
            lambda values: tune(task, values, Console()), name, [_source(task.sets), *options]
        )


def _console() -> Console:
    """Where to write; of several processes the first one alone does."""
    return Console(quiet=os.environ.get("RANK", "0") != "0")


def _source(sets: Any) -> inspect.Parameter:
    text = f"{', '.join(sets)}, or the path of your own data."
    return inspect.Parameter(
        "source",
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[
            str | None, typer.Argument(metavar="SOURCE", help=text, show_default=False)
        ],
    )


def _command(function: Callable[[dict[str, Any]], None], name: str, options: list[Any]) -> Any:
    """A command of Typer's that hands the values of its options on by name."""
    parameters = [one if isinstance(one, inspect.Parameter) else one.parameter() for one in options]
    app = typer.Typer(add_completion=False)
    app.command(name, help=SUMMARIES[name])(with_signature(function, parameters))
    return typer.main.get_command(app)
