"""Classify small images, each of its rows one time step of an LSTM."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from fastlstm.data import IMAGE_DATASETS, ImageDataset
from fastlstm.models import ImageRowClassifier
from fastlstm.training.errors import RunFolderError
from fastlstm.training.folder import CONFIG, check_output
from fastlstm.training.loop import count_correct, train_epochs
from fastlstm.training.progress import TrainingProgress
from fastlstm.training.run_folder import RunFolder, load_weights, read_config

DEFAULT_EPOCHS: Mapping[str, int] = {"digits": 30, "mnist": 10}


class SettingsError(ValueError):
    """A setting that no run can have; the message says which and what was expected."""


def default_epochs(dataset: str) -> int:
    """How many epochs to train on `dataset` unless told otherwise.

    Raises:
        SettingsError: there is no such data set.
    """
    _check_dataset(dataset)
    return DEFAULT_EPOCHS[dataset]


@dataclass(frozen=True)
class ImageRowSettings:
    """All that decides a run; saved as its `config.json`.

    The defaults were chosen on the validation part of MNIST.

    Args:
        dataset: a key of `fastlstm.data.IMAGE_DATASETS`.
        epochs: passes over the training part.
        hidden_size: the number of LSTM units.
        batch_size: images in a training step.
        learning_rate: the peak of the schedule.
        seed: of the initial weights and of the shuffling; the split of the data does not change.
        threads: CPU threads; at the default sizes a second one gains little.

    Raises:
        SettingsError: a value of the wrong type or outside its range.
    """

    dataset: str
    epochs: int
    hidden_size: int = 64
    batch_size: int = 64
    learning_rate: float = 0.008
    seed: int = 0
    threads: int = 1

    def __post_init__(self) -> None:
        _check_dataset(self.dataset)
        _check_whole_number("epochs", self.epochs, 1, 1_000_000)
        # Beyond this the sizes of tensors overflow, in errors that no longer name the setting.
        _check_whole_number("hidden_size", self.hidden_size, 1, 65_536)
        _check_whole_number("batch_size", self.batch_size, 1, 1_000_000)
        _check_whole_number("seed", self.seed, 0, 2**32 - 1)
        _check_whole_number("threads", self.threads, 1, 1_024)
        rate = self.learning_rate
        if type(rate) not in (int, float) or not math.isfinite(rate) or rate <= 0:
            raise SettingsError(f"learning_rate is {rate!r}: expected a finite number above 0")

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> ImageRowSettings:
        """Make the settings from the content of a `config.json`.

        Raises:
            SettingsError: a key is missing or unknown, or a value is not one that a run can have.
        """
        names = [field.name for field in fields(cls)]
        for name in names:
            if name not in config:
                raise SettingsError(f"the key {name!r} is missing")
        for name in config:
            if name not in names:
                raise SettingsError(f"unknown key {name!r}: expected {', '.join(names)}")
        return cls(**config)


@dataclass(frozen=True)
class Score:
    """How many of the test images a model names correctly."""

    correct: int
    images: int

    @property
    def accuracy(self) -> float:
        """The share named correctly, from 0 to 1."""
        return self.correct / self.images

    def __str__(self) -> str:
        return f"test accuracy {self.accuracy:.2%} ({self.correct:,} of {self.images:,} images)"


def train_image_rows(settings: ImageRowSettings, output: Path, console: Console) -> Score:
    """Train on the data set that `settings` names, fill the run folder `output`, and test.

    The weights and metrics on the disk are those of the last epoch that ended, also if the
    training is interrupted.

    Raises:
        DataError, RunFolderError, TrainingError: with nothing left behind, unless an epoch ended.
    """
    check_output(output)
    torch.set_num_threads(settings.threads)
    dataset = _load(settings, console)
    model = _build(settings, dataset)
    model.standardise_with(dataset.train.tensors[0])
    console.print(_describe(settings, dataset, model), highlight=False, soft_wrap=True)

    with RunFolder(output, asdict(settings)) as run:
        with TrainingProgress(console, settings.epochs, len(dataset.train)) as progress:
            for metrics in train_epochs(
                model,
                dataset.train,
                dataset.validation,
                epochs=settings.epochs,
                batch_size=settings.batch_size,
                learning_rate=settings.learning_rate,
                seed=settings.seed,
                on_batch=progress.show_batch,
            ):
                run.save_weights(model.state_dict())
                run.add_metrics(asdict(metrics))
                progress.show_epoch(metrics)
        score = _test(model, dataset)
        run.add_metrics(
            {
                "test_accuracy": score.accuracy,
                "test_correct": score.correct,
                "test_images": score.images,
            }
        )
    return score


def evaluate_image_rows(run: Path, console: Console) -> Score:
    """Reload the run in the folder `run` and test it again.

    Raises:
        DataError, RunFolderError: as the message says.
    """
    config = read_config(run)
    try:
        settings = ImageRowSettings.from_config(config)
    except SettingsError as error:
        raise RunFolderError(f"{run / CONFIG}: {error}") from error
    torch.set_num_threads(settings.threads)
    dataset = _load(settings, console)
    model = _build(settings, dataset)
    load_weights(run, model)
    return _test(model, dataset)


def _load(settings: ImageRowSettings, console: Console) -> ImageDataset:
    with console.status(f"reading {settings.dataset}"):
        return IMAGE_DATASETS[settings.dataset]()


def _build(settings: ImageRowSettings, dataset: ImageDataset) -> ImageRowClassifier:
    # The caller's random state is left as it was.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        return ImageRowClassifier(dataset.columns, settings.hidden_size, dataset.num_classes)


def _describe(settings: ImageRowSettings, dataset: ImageDataset, model: ImageRowClassifier) -> str:
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return (
        f"[bold]{settings.dataset}[/]: {len(dataset.train):,} training, "
        f"{len(dataset.validation):,} validation, {len(dataset.test):,} test images of "
        f"{dataset.rows}x{dataset.columns} pixels\n"
        f"LSTM of {settings.hidden_size:,} units, {parameters:,} parameters\n"
    )


def _test(model: ImageRowClassifier, dataset: ImageDataset) -> Score:
    return Score(count_correct(model, dataset.test), len(dataset.test))


def _check_dataset(name: object) -> None:
    # The tuple, as a damaged file can hold a list here, and a list has no hash.
    if name not in tuple(IMAGE_DATASETS):
        raise SettingsError(f"unknown data set {name!r}: expected {' or '.join(IMAGE_DATASETS)}")


def _check_whole_number(name: str, value: object, minimum: int, maximum: int) -> None:
    # `type`, as True is an int as well.
    if type(value) is not int or not minimum <= value <= maximum:
        raise SettingsError(
            f"{name} is {value!r}: expected a whole number from {minimum} to {maximum:,}"
        )
