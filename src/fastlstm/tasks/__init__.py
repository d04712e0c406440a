"""Estimators: from data to a trained, measured and saved network."""

from fastlstm.tasks.errors import TaskError
from fastlstm.tasks.forecaster import Forecaster
from fastlstm.tasks.sequence_classifier import SequenceClassifier
from fastlstm.tasks.sequence_tagger import SequenceTagger
from fastlstm.tasks.text_classifier import TextClassifier

__all__ = [
    "Forecaster",
    "SequenceClassifier",
    "SequenceTagger",
    "TaskError",
    "TextClassifier",
]
