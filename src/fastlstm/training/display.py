"""What a training shows in a terminal: a line for each epoch and a bar for the one running."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from fastlstm.training.events import BatchesDone, EpochDone, Event, Started

# Not figures of their own in the table: the epoch stands first, the time last.
_PLACES = ("epoch", "updates", "learning_rate", "seconds")
# What makes a share, and reads best in per cent.
_SHARES = ("accuracy", "f1", "error_rate")
# Of more epochs not every one has a line.
_MOST_LINES = 100


class TrainingDisplay:
    """Shows the events of `fit`: a table that grows by a line each epoch, or each few of many.

    In a terminal a live bar stands below it with the loss, the speed and the time left; elsewhere
    (a pipe, a log file) only the lines are written, with no control codes. Give the object itself
    to `fit` as `on_event`, inside its `with` block.

    Args:
        console: where to write.
        unit: what the examples are called: "images", "sentences", …
    """

    def __init__(self, console: Console, unit: str = "examples") -> None:
        self._console = console
        self._unit = unit
        self._epochs = 0
        self._examples = 0
        self._columns: list[str] = []
        self._seconds = 0.0  # of the epochs since the last line,
        self._is_best = False  # and whether one of them was the best
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=12),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(compact=True),
            TextColumn("left"),
            console=console,
            transient=True,
            disable=not console.is_interactive,
        )
        # Examples rather than batches, so that rich's own speed is in examples a second.
        self._task = self._bar.add_task("", figures="", start=False)

    def __enter__(self) -> TrainingDisplay:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def __call__(self, event: Event) -> None:
        """Show what has happened."""
        if isinstance(event, Started):
            self._start(event)
        elif isinstance(event, BatchesDone):
            self._show_batches(event)
        elif isinstance(event, EpochDone):
            self._show_epoch(event)

    def _start(self, event: Started) -> None:
        self._epochs, self._examples = event.epochs, event.examples
        if event.device != "CPU":
            self._print(f"[dim]on {escape(event.device)}[/]")
        behind = (event.epoch - 1) * event.examples + event.done
        if behind:
            self._print(f"[dim]resumed in epoch {event.epoch} of {event.epochs}[/]")
        self._bar.start()
        self._bar.update(
            self._task,
            description=self._place(event.epoch),
            total=event.epochs * event.examples,
            completed=behind,
        )
        self._bar.start_task(self._task)

    def _show_batches(self, event: BatchesDone) -> None:
        figures = "  ".join(f"{name} {text}" for name, text in _texts(event.averages).items())
        speed = self._bar.tasks[0].speed
        if speed is not None:
            figures += f"  {speed:,.0f} {self._unit}/s"
        self._bar.update(
            self._task,
            description=self._place(event.epoch),
            completed=(event.epoch - 1) * self._examples + event.examples,
            figures=figures,
        )

    def _show_epoch(self, event: EpochDone) -> None:
        record = event.record
        self._seconds += record["seconds"]
        self._is_best |= event.is_best
        if event.epoch < self._epochs and event.epoch % -(-self._epochs // _MOST_LINES):
            return
        texts = _texts({name: record[name] for name in record if name not in _PLACES})
        if not self._columns:
            self._columns = list(texts)
            heads = "".join(f"{_head(name):>{_width(name)}}" for name in self._columns)
            self._print(f"[dim]  epoch{heads}      time[/]")
        cells = "".join(f"{texts[name]:>{_width(name)}}" for name in self._columns)
        mark = "  best" if self._is_best else ""
        self._print(f"{self._place(event.epoch)}{cells}{self._seconds:>8.1f} s[bold]{mark}[/]")
        self._seconds, self._is_best = 0.0, False

    def _place(self, epoch: int) -> str:
        # Padded, so that the bar continues the first column of the table.
        return f"{epoch:>3}/{self._epochs:<3}"

    def _print(self, line: str) -> None:
        # A line that wraps at the 80 columns rich takes a pipe to have could not be searched.
        self._console.print(line, highlight=False, soft_wrap=True)


def _texts(figures: Mapping[str, Any]) -> dict[str, str]:
    return {name: _text(name, value) for name, value in figures.items()}


def _text(name: str, value: float | None) -> str:
    if value is None:
        return "-"
    if name.endswith(_SHARES):
        return f"{value:.2%}"
    return f"{value:.4f}" if 1e-3 <= abs(value) < 1e4 or value == 0 else f"{value:.3e}"


def _head(name: str) -> str:
    return name.replace("validation_", "valid. ").replace("_", " ")


def _width(name: str) -> int:
    return max(len(_head(name)), 9) + 3
