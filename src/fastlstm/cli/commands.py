"""The commands and their options."""

from pathlib import Path
from typing import Annotated, Any

import typer
import typer.core
from rich.console import Console

from fastlstm import __version__
from fastlstm.cli.bench import BenchSettings, Precision, bench_layer
from fastlstm.cli.tasks import TrainGroup, TuneGroup


class Commands(typer.core.TyperGroup):
    """The commands in the order in which they are needed."""

    def list_commands(self, ctx: Any) -> list[str]:
        """From training to what one looks up."""
        return ["train", "tune", "evaluate", "predict", "data", "bench", "info"]


app = typer.Typer(
    cls=Commands,
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


tune_app = typer.Typer(cls=TuneGroup)
app.add_typer(tune_app, name="tune")


@tune_app.callback(invoke_without_command=True)
def _tune(context: typer.Context) -> None:
    """Search for better settings, chosen by the validation part; goes on where it was stopped."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command()
def evaluate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder that a training wrote.")],
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE",
            help="Other data with their labels; without it, the run's own test part.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Measure a trained run again."""
    from fastlstm.cli import using

    using.evaluate(run, file, Console())


@app.command()
def predict(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder that a training wrote.")],
    input: Annotated[
        Path,
        typer.Argument(
            metavar="INPUT",
            help="CSV, TSV, Parquet, JSON Lines, a text a line, an image or a folder of images.",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Where to write: .csv, .tsv, .parquet, .jsonl, or .txt for the predictions "
            "alone. Without it, CSV on the standard output.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Predict a file: its own columns, and beside them what the run says, how surely."""
    from fastlstm.cli import using

    using.write_predictions(run, input, output, Console())


data_app = typer.Typer()
app.add_typer(data_app, name="data")


@data_app.callback(invoke_without_command=True)
def _data(context: typer.Context) -> None:
    """List and fetch the named data sets."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@data_app.command("list")
def list_sets() -> None:
    """List the named data sets."""
    from fastlstm.cli import sets

    sets.show_sets(Console())


@data_app.command("get")
def get(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As 'fastlstm data list' has it.")],
) -> None:
    """Fetch a data set once, check it and show its files."""
    from fastlstm.cli import sets

    sets.get_set(name, Console())


@app.command()
def info() -> None:
    """Show versions, kernels, threads and devices: what a report of a fault should have."""
    from fastlstm.cli import information

    information.show(Console())


@app.command()
def bench(
    steps: Annotated[int, typer.Option(min=1, help="Time steps.")] = 100,
    batch: Annotated[int, typer.Option(min=1, help="Rows of the batch.")] = 16,
    input_size: Annotated[int, typer.Option(min=1, help="Features of a step.")] = 256,
    hidden_size: Annotated[int, typer.Option(min=1, help="LSTM units.")] = 256,
    layers: Annotated[int, typer.Option(min=1, help="Layers of them.")] = 1,
    bidirectional: Annotated[
        bool, typer.Option("--bidirectional", help="In both directions.")
    ] = False,
    dtype: Annotated[Precision, typer.Option(help="Precision.")] = Precision.FLOAT32,
    training: Annotated[
        bool, typer.Option("--training", help="Forward and backward; else forward alone.")
    ] = False,
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads.", show_default="one for each core")
    ] = None,
    switch: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A switch to turn on: layer_norm, …; may be repeated."),
    ] = None,
) -> None:
    """Measure the LSTM's speed beside PyTorch's, and other libraries that are installed."""
    settings = BenchSettings(
        steps,
        batch,
        input_size,
        hidden_size,
        layers,
        bidirectional,
        dtype,
        training,
        threads,
        tuple(switch or ()),
    )
    if not bench_layer(settings, Console()):
        raise typer.Exit(1)
