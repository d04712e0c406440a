"""What `fastlstm evaluate` and `fastlstm predict` do with a trained run."""

from __future__ import annotations

import sys
from pathlib import Path

from rich.console import Console

from fastlstm.cli.errors import CommandError
from fastlstm.cli.options import PLAIN
from fastlstm.report import score_table
from fastlstm.runs import Run, finish, predict, predict_table
from fastlstm.runs.predictions import check_output_file, encoded


def evaluate(path: Path, file: Path | None, console: Console) -> None:
    """Measure a run again: on its test part, with scores and report written anew; or on a file.

    Raises:
        CommandError: there is no such file.
        RunFolderError: the folder is no run, or nothing was trained in it.
        DataError: the data cannot be read.
    """
    run = Run.open(path)
    if file is None:
        estimator = run.load()
        scores = finish(run, estimator, run.read()).scores
    else:
        if not file.exists():
            raise CommandError(f"{file} does not exist: expected a file to measure the run on")
        scores = run.measure(file).scores
    console.print(score_table(scores))


def write_predictions(path: Path, file: Path, output: Path | None, console: Console) -> None:
    """Predict a file; without an output, as CSV to where a shell can take it.

    Raises:
        RunError: the output cannot be written.
        RunFolderError, DataError: as `evaluate`.
    """
    if output is None:
        table = predict_table(Run.open(path), file)
        sys.stdout.write(encoded(table, Path("-.csv")).decode())
        return
    check_output_file(output)
    rows = predict(Run.open(path), file, output)
    console.print(f"{rows:,} predictions in {output}", **PLAIN)
