"""One run from data to report, callable from Python: what the command line does."""

from fastlstm.runs.errors import RunError
from fastlstm.runs.outcome import Outcome, finish
from fastlstm.runs.predictions import predict, predict_table
from fastlstm.runs.run import Run
from fastlstm.runs.settings import parameters, read_settings, settings_of
from fastlstm.runs.space import Choice, Real, Space, Whole, parse_space
from fastlstm.runs.task import DataConfig, Parts, Results, Task
from fastlstm.runs.tasks import TASKS, find_task
from fastlstm.runs.train import resume, train
from fastlstm.runs.tuning import Trial, Tuning

__all__ = [
    "TASKS",
    "Choice",
    "DataConfig",
    "Outcome",
    "Parts",
    "Real",
    "Results",
    "Run",
    "RunError",
    "Space",
    "Task",
    "Trial",
    "Tuning",
    "Whole",
    "find_task",
    "finish",
    "parameters",
    "parse_space",
    "predict",
    "predict_table",
    "read_settings",
    "resume",
    "settings_of",
    "train",
]
