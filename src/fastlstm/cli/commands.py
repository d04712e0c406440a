"""The commands and their options."""

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from fastlstm import __version__
from fastlstm.cli.bench import BenchSettings, Precision, bench_layer
from fastlstm.tasks import (
    DEFAULT_EPOCHS,
    ImageRowSettings,
    default_epochs,
    evaluate_image_rows,
    train_image_rows,
)

app = typer.Typer(
    help="Train and evaluate LSTM networks.",
    add_completion=False,
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


@app.command()
def train(
    dataset: Annotated[
        str,
        typer.Argument(
            metavar="DATASET",
            help="digits (8x8, inside scikit-learn) or mnist (28x28, downloaded once).",
        ),
    ],
    epochs: Annotated[
        int | None,
        typer.Option(
            help="Passes over the training images.",
            show_default=", ".join(f"{count} for {name}" for name, count in DEFAULT_EPOCHS.items()),
        ),
    ] = None,
    hidden_size: Annotated[int, typer.Option(help="LSTM units.")] = ImageRowSettings.hidden_size,
    batch_size: Annotated[
        int, typer.Option(help="Images in a training step.")
    ] = ImageRowSettings.batch_size,
    learning_rate: Annotated[
        float, typer.Option(help="Peak of the schedule: a short rise, then half a cosine to zero.")
    ] = ImageRowSettings.learning_rate,
    seed: Annotated[
        int, typer.Option(help="Of the initial weights and the shuffling.")
    ] = ImageRowSettings.seed,
    threads: Annotated[
        int, typer.Option(help="CPU threads; more than one pays at larger sizes.")
    ] = ImageRowSettings.threads,
    output: Annotated[
        Path | None,
        typer.Option(
            help="New or empty folder for the run.", show_default="runs/DATASET-DATE-TIME"
        ),
    ] = None,
) -> None:
    """Train an image classifier that reads each image row by row, and test it."""
    settings = ImageRowSettings(
        dataset=dataset,
        epochs=default_epochs(dataset) if epochs is None else epochs,
        hidden_size=hidden_size,
        batch_size=batch_size,
        learning_rate=learning_rate,
        seed=seed,
        threads=threads,
    )
    if output is None:
        output = Path("runs") / f"{dataset}-{datetime.now():%Y%m%d-%H%M%S}"
    console = Console()
    score = train_image_rows(settings, output, console)
    console.print(f"\n[bold green]{score}[/]", highlight=False, soft_wrap=True)
    console.print(f"saved in {output}", highlight=False, markup=False, soft_wrap=True)


@app.command()
def evaluate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder that a training wrote.")],
) -> None:
    """Reload a trained run and test it again."""
    console = Console()
    score = evaluate_image_rows(run, console)
    console.print(f"[bold green]{score}[/]", highlight=False, soft_wrap=True)


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
