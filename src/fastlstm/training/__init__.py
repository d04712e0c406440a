"""Training: one loop for every task, on any device and number of processes, that can be resumed."""

from fastlstm.training.display import TrainingDisplay
from fastlstm.training.errors import Interrupted, RunFolderError, TrainingError
from fastlstm.training.evaluation import evaluate
from fastlstm.training.events import BatchesDone, EpochDone, Event, Started
from fastlstm.training.examples import Examples, map_tensors
from fastlstm.training.fit import fit
from fastlstm.training.folder import RunFolder, check_output, is_first_process
from fastlstm.training.hardware import check_hardware, device_name, find_device
from fastlstm.training.history import History, read_history
from fastlstm.training.lr_find import LearningRates, lr_find
from fastlstm.training.objective import Derived, Loss, Metric, Objective, Stretched, Sum
from fastlstm.training.settings import TrainingConfig
from fastlstm.training.sums import RunningSums, finest

__all__ = [
    "BatchesDone",
    "Derived",
    "EpochDone",
    "Event",
    "Examples",
    "History",
    "Interrupted",
    "LearningRates",
    "Loss",
    "Metric",
    "Objective",
    "RunFolder",
    "RunFolderError",
    "RunningSums",
    "Started",
    "Stretched",
    "Sum",
    "TrainingConfig",
    "TrainingDisplay",
    "TrainingError",
    "check_hardware",
    "check_output",
    "device_name",
    "evaluate",
    "find_device",
    "finest",
    "fit",
    "is_first_process",
    "lr_find",
    "map_tensors",
    "read_history",
]
