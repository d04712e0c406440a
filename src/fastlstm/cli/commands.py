"""The commands and their options."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from fastlstm import __version__
from fastlstm.cli.bench import BenchSettings, Precision
from fastlstm.cli.tasks import TrainGroup

app = typer.Typer(
    help="Train, measure and use LSTM networks.",
    # A plain traceback, without the value of every local, is what a bug report needs.
    pretty_exceptions_enable=False,
)


def _print_version(requested: bool) -> None:
    if requested:
        typer.echo(f"fastlstm {__version__}")
        raise typer.Exit()


@app.callback(invoke_without_command=True)
def _show_help_or_version(
    context: typer.Context,
    show_version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


train_app = typer.Typer(cls=TrainGroup, no_args_is_help=False)
app.add_typer(train_app, name="train")


@train_app.callback(invoke_without_command=True)
def _train(context: typer.Context) -> None:
    """Train a network on data, measure it on data it has not seen, and write a report."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
