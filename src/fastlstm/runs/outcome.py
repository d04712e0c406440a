"""What a finished run leaves to read: its scores as JSON, and its report."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch

import fastlstm
from fastlstm import report
from fastlstm.atomic import write_atomically
from fastlstm.config import to_mapping
from fastlstm.report import LearningCurves, Scores, Summary
from fastlstm.runs.run import Run
from fastlstm.runs.task import Parts
from fastlstm.training import (
    History,
    Metric,
    RunFolder,
    RunFolderError,
    device_name,
    read_history,
)
from fastlstm.training.folder import is_first_process

SCORES = "scores.json"
REPORT = "report.html"


@dataclass(frozen=True)
class Outcome:
    """A run that has ended.

    Attributes:
        path: its folder.
        scores: what came out on the test part.
        estimator: the fitted estimator.
        seconds: what the training took.
    """

    path: Path
    scores: Scores
    estimator: Any
    seconds: float


def finish(run: Run, estimator: Any, parts: Parts) -> Outcome:
    """Measure the estimator on the test part and write `scores.json` and `report.html`.

    Of several processes the first one alone writes.

    Raises:
        RunFolderError: the disk refuses.
    """
    results = run.task.measure(estimator, parts.test)
    # One that was loaded has none; and the folder is written by the first of several processes.
    fitted: History | None = getattr(estimator, "history_", None)
    history = fitted or read_history(RunFolder.open(run.model))
    seconds = sum(record["seconds"] for record in history.records)
    facts = _facts(run, estimator, parts, seconds)
    curves = learning_curves(history, run.task.metrics)
    summary = Summary(parts.name, results.description, results.scores, facts)
    settings = {"data": to_mapping(run.data), **to_mapping(run.settings)}
    sections = [
        report.metric_table(results.scores),
        report.learning_curves(curves),
        *results.sections,
        report.configuration(settings),
    ]
    figures = {
        "task": run.task.name,
        "data": parts.name,
        "scores": scores_as_json(results.scores),
        "baseline": results.scores.baseline_name,
        "training_examples": len(parts.train),
        "test_examples": len(parts.test),
        "best_epoch": history.best_epoch,
        "training_seconds": seconds,
        "seed": run.settings.training.seed,
        "versions": _versions(),
        "date": _now().isoformat(timespec="seconds"),
    }
    if not is_first_process():
        return Outcome(run.path, results.scores, estimator, seconds)
    try:
        write_atomically(run.path / SCORES, (json.dumps(figures, indent=2) + "\n").encode())
        report.write(run.path / REPORT, summary, sections)
    except OSError as error:
        raise RunFolderError(f"cannot write {run.path}: {error.strerror}") from error
    return Outcome(run.path, results.scores, estimator, seconds)


def scores_as_json(scores: Scores) -> dict[str, dict[str, float | None]]:
    """Each metric by name: its value, and that of the baseline where it has one."""

    def plain(value: float | None) -> float | None:
        return value if value is not None and math.isfinite(value) else None  # JSON has no NaN

    return {
        metric.name: {"value": plain(metric.value), "baseline": plain(metric.baseline)}
        for metric in scores.metrics
    }


def learning_curves(history: History, metrics: Sequence[Metric]) -> LearningCurves:
    """The curves of a training.

    Args:
        history: what the training did.
        metrics: by which the best epoch may have been chosen: the first that was measured.
    """
    records = history.records
    metric = deciding_metric(records[0], metrics)
    losses = {"training": _curve(records, "train_loss")}
    if "validation_loss" in records[0]:
        losses["validation"] = _curve(records, "validation_loss")
    curves = LearningCurves([record["epoch"] for record in records], losses, history.best_epoch)
    if metric is None or metric.name == "loss":  # whose curves are drawn already
        return curves
    shown = {"validation": _curve(records, f"validation_{metric.name}")}
    if f"train_{metric.name}" in records[0]:
        shown = {"training": _curve(records, f"train_{metric.name}"), **shown}
    return replace(
        curves,
        metric_name=metric.name.replace("_", " "),
        metrics=shown,
        percent=metric.name.endswith(("accuracy", "f1")),
    )


def deciding_metric(record: Mapping[str, Any], metrics: Sequence[Metric]) -> Metric | None:
    """The first of the metrics that was measured after an epoch; None where none was."""
    return next((one for one in metrics if f"validation_{one.name}" in record), None)


def _curve(records: Sequence[Mapping[str, Any]], name: str) -> list[float]:
    return [math.nan if record.get(name) is None else record[name] for record in records]


def _facts(run: Run, estimator: Any, parts: Parts, seconds: float) -> dict[str, str]:
    weights = sum(parameter.numel() for parameter in estimator.network_.parameters())
    device = device_name(next(estimator.network_.parameters()).device)
    facts = {
        "trained on": f"{len(parts.train):,} {parts.noun}",
        "scored on": f"{len(parts.test):,} {parts.noun}",
        "test part": parts.note,
        "training time": report.duration(seconds),
        "device": "" if device == "CPU" else device,
        "weights": f"{weights:,}",
        "seed": str(run.settings.training.seed),
        "date": f"{_now():%d %B %Y}",
        "versions": ", ".join(f"{name} {version}" for name, version in _versions().items()),
    }
    return {name: value for name, value in facts.items() if value}


def _now() -> datetime:
    return datetime.now(timezone.utc)


def _versions() -> dict[str, str]:
    return {
        "fastlstm": fastlstm.__version__,
        "torch": torch.__version__.partition("+")[0],
        "Python": platform.python_version(),
    }
