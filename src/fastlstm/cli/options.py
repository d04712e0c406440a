"""Options out of dataclasses: what a run can be told is then written down once."""

from __future__ import annotations

import inspect
import json
import re
import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import typer

from fastlstm.config import with_overrides

# What everybody sets, by the name of the option.
SETTINGS: Mapping[str, tuple[str, str, str]] = {
    "epochs": (
        "training.epochs",
        "INTEGER",
        "Passes over the training part, at most; without it, as many as it needs.",
    ),
    "batch_size": ("training.batch_size", "INTEGER", "Examples in a batch."),
    "learning_rate": ("training.learning_rate", "NUMBER", "The highest of the schedule."),
    "hidden_size": ("lstm.hidden_size", "INTEGER", "LSTM units of a layer, in one direction."),
    "seed": ("training.seed", "INTEGER", "Of the weights, the shuffling and the dropout."),
    "threads": ("training.threads", "INTEGER", "CPU threads."),
    "precision": ("training.precision", "NAME", "float32, bfloat16 or float16 (on a GPU)."),
    "device": ("training.device", "NAME", "auto, cpu, cuda or mps."),
}
DATA_PANEL, SETTINGS_PANEL, RUN_PANEL = "Data", "Settings", "Run"
# How a line is printed that others may search: as it is, and not cut at the width of a terminal.
PLAIN: dict[str, Any] = {"highlight": False, "markup": False, "soft_wrap": True}


@dataclass(frozen=True)
class Option:
    """An option of a command.

    Attributes:
        name: of the argument that its value comes in; `batch_size` is `--batch-size`.
        kind: what Typer makes of it.
        help: a line, or a few.
        panel: under which heading it stands.
        default: shown; None: nothing is.
        metavar: what stands for the value.
    """

    name: str
    kind: Any
    help: str
    panel: str
    default: str | None = None
    metavar: str | None = None

    def parameter(self) -> inspect.Parameter:
        """As Typer reads it from a signature."""
        flag = self.kind is bool
        declaration = f"--{self.name.replace('_', '-')}"
        option = typer.Option(
            declaration,
            # Typer would put a default that is no value into parentheses.
            help=self.help + (f" \\[default: {self.default}]" if self.default else ""),
            rich_help_panel=self.panel,
            show_default=False,
            metavar=self.metavar,
        )
        kind = bool if flag else self.kind | None
        return inspect.Parameter(
            self.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=False if flag else None,
            annotation=Annotated[kind, option],
        )


def data_options(data: type[Any]) -> list[Option]:
    """An option for each field of a `DataConfig`, but for the source itself."""
    texts = argument_texts(data)
    hints = get_type_hints(data)
    options = []
    for field in fields(data):
        if field.name == "source":
            continue
        kind, metavar = _typer_kind(hints[field.name])
        default = None
        if field.default is not MISSING and field.default is not None and kind is not bool:
            default = _shown(field.default)
        text = texts[field.name]
        options.append(Option(field.name, kind, text, DATA_PANEL, default, metavar))
    return options


def settings_options(settings: Any) -> list[Option]:
    """The options of what everybody sets, with a task's own defaults."""
    options = []
    for name, (key, metavar, text) in SETTINGS.items():
        default = settings
        for part in key.split("."):
            default = getattr(default, part, None)
        shown = None if default is None else str(default)
        options.append(Option(name, str, text, SETTINGS_PANEL, shown, metavar))
    return [
        *options,
        Option("set", list[str], _OTHERS, SETTINGS_PANEL, None, "KEY=…"),
        Option("config", Path, _CONFIG, SETTINGS_PANEL, None, "FILE"),
    ]


_CONFIG = "Settings in a TOML, YAML or JSON file."
_OTHERS = "Any other setting: pooling=max, lstm.num_layers=2, training.patience=3. May be repeated."


def data_from(data: type[Any], source: str, values: Mapping[str, Any]) -> Any:
    """The `DataConfig` of a source and of the options that were given.

    Raises:
        ConfigError: a value is of another kind than the field's.
    """
    assignments = []
    for field in fields(data):
        value = values.get(field.name)
        if field.name != "source" and value not in (None, False, [], ()):
            assignments.append(f"{field.name}={_as_text(value)}")
    return with_overrides(data(source), assignments)


def overrides_from(values: Mapping[str, Any]) -> list[str]:
    """The options of settings that were given, as `KEY=VALUE`; those of `--set` come last."""
    by_key = {key: values[name] for name, (key, _, _) in SETTINGS.items()}
    given = [f"{key}={value}" for key, value in by_key.items() if value is not None]
    return [*given, *(values["set"] or ())]


def with_signature(
    function: Callable[..., None], parameters: list[inspect.Parameter]
) -> Callable[..., None]:
    """A function that Typer sees with these parameters; it gets their values by name."""

    def command(**values: Any) -> None:
        function(values)

    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {}
    return command


def argument_texts(cls: type[Any]) -> dict[str, str]:
    """What the docstring of a dataclass, or of one above it, says of each argument."""
    texts: dict[str, str] = {}
    for one in cls.__mro__:
        doc = inspect.getdoc(one) or ""
        _, _, arguments = doc.partition("Args:\n")
        for name, text in re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", arguments, re.MULTILINE):
            plain = " ".join(text.split()).replace("`", "").replace("; None: ", "; without it, ")
            if not plain.startswith("as for "):
                texts.setdefault(name, plain[:1].upper() + plain[1:])
    return texts


def _typer_kind(annotation: Any) -> tuple[Any, str | None]:
    """What Typer makes of a field, and what stands for its value."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return _typer_kind(next(kind for kind in arguments if kind is not type(None)))
    if annotation is bool:
        return bool, None
    if annotation is Path:
        return Path, "FILE"
    if origin is Literal:
        return str, "|".join(map(str, arguments))
    if origin is tuple and arguments == (str, ...):
        return list[str], "NAME,…"
    if origin is tuple:
        metavars = [_METAVARS.get(kind, "VALUE") for kind in arguments if kind is not ...]
        return str, ",".join(metavars) + (",…" if ... in arguments else "")
    return str, _METAVARS.get(annotation, "VALUE")


_METAVARS = {int: "INTEGER", float: "NUMBER", str: "NAME"}


def _as_text(value: Any) -> str:
    """A value as it stands behind the equals sign: several texts as JSON."""
    if isinstance(value, (list, tuple)):
        names = [name.strip() for item in value for name in item.split(",")]
        return json.dumps(names, ensure_ascii=False)
    return str(value)


def _shown(default: Any) -> str:
    if isinstance(default, tuple):
        return ",".join(map(str, default))
    return str(default)
