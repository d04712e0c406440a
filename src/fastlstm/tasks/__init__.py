"""Estimators: from data to a trained, measured and saved network; and the jobs of the CLI."""

from fastlstm.tasks.errors import TaskError
from fastlstm.tasks.forecaster import Forecaster
from fastlstm.tasks.image_rows import (
    DEFAULT_EPOCHS,
    ImageRowSettings,
    Score,
    SettingsError,
    default_epochs,
    evaluate_image_rows,
    train_image_rows,
)
from fastlstm.tasks.sequence_classifier import SequenceClassifier
from fastlstm.tasks.text_classifier import TextClassifier

__all__ = [
    "DEFAULT_EPOCHS",
    "Forecaster",
    "ImageRowSettings",
    "Score",
    "SequenceClassifier",
    "SettingsError",
    "TaskError",
    "TextClassifier",
    "default_epochs",
    "evaluate_image_rows",
    "train_image_rows",
]
