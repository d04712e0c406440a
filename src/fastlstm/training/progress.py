"""What a training shows in a terminal: a line for each epoch and a bar for the one running."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from fastlstm.training.loop import EpochMetrics, RunningMetrics


class TrainingProgress:
    """A table that grows by a line each epoch; in a terminal, with a live bar below it.

    Elsewhere (a pipe, a log file) only the lines are written, with no control codes.
    """

    def __init__(self, console: Console, epochs: int, examples_per_epoch: int) -> None:
        self._console = console
        self._epochs = epochs
        self._examples_per_epoch = examples_per_epoch
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
        self._task = self._bar.add_task(
            self._place(1), total=epochs * examples_per_epoch, figures=""
        )

    def __enter__(self) -> TrainingProgress:
        self._print(
            "[dim]  epoch    train loss    train accuracy    validation accuracy      time[/]"
        )
        self._bar.start()
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def show_batch(self, metrics: RunningMetrics) -> None:
        """Move the bar to where the training stands."""
        figures = f"loss {metrics.loss:.4f}  accuracy {metrics.accuracy:.2%}"
        speed = self._bar.tasks[0].speed
        if speed is not None:
            figures += f"  {speed:,.0f} images/s"
        self._bar.update(
            self._task,
            description=self._place(metrics.epoch),
            completed=(metrics.epoch - 1) * self._examples_per_epoch + metrics.examples,
            figures=figures,
        )

    def show_epoch(self, metrics: EpochMetrics) -> None:
        """Write the line of an epoch that has ended."""
        self._print(
            f"{self._place(metrics.epoch)}"
            f"{metrics.train_loss:>14.4f}"
            f"{metrics.train_accuracy:>18.2%}"
            f"[bold]{metrics.validation_accuracy:>23.2%}[/]"
            f"{metrics.seconds:>8.1f} s"
        )

    def _place(self, epoch: int) -> str:
        # Padded, so that the bar continues the first column of the table.
        return f"{epoch:>3}/{self._epochs:<3}"

    def _print(self, line: str) -> None:
        # A line that wraps at the 80 columns rich takes a pipe to have could not be searched.
        self._console.print(line, highlight=False, soft_wrap=True)
