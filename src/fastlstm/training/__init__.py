"""Training: one loop for every task, on any device and number of processes, that can be resumed."""

from fastlstm.training.errors import Interrupted, RunFolderError, TrainingError
from fastlstm.training.evaluation import evaluate
from fastlstm.training.events import BatchesDone, EpochDone, Event, Started
from fastlstm.training.examples import Examples, map_tensors
from fastlstm.training.fit import History, fit
from fastlstm.training.folder import RunFolder, check_output
from fastlstm.training.objective import Loss, Metric, Objective, Stretched, Sum
from fastlstm.training.settings import TrainingConfig

__all__ = [
    "BatchesDone",
    "EpochDone",
    "Event",
    "Examples",
    "History",
    "Interrupted",
    "Loss",
    "Metric",
    "Objective",
    "RunFolder",
    "RunFolderError",
    "Started",
    "Stretched",
    "Sum",
    "TrainingConfig",
    "TrainingError",
    "check_output",
    "evaluate",
    "fit",
    "map_tensors",
]
