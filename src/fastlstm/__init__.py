"""The LSTM for PyTorch: every variant, on every device, at the speed of the hardware."""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from fastlstm._engine import version as _version
from fastlstm.nn import (
    LSTM,
    Choice,
    Explanation,
    LayerParameters,
    LayerTrace,
    LSTMCell,
    Trace,
    explain,
    lstm,
    lstm_cell,
    replace,
    restore,
)
from fastlstm.ops import backend

if _TYPE_CHECKING:
    from fastlstm.models import LSTMConfig
    from fastlstm.tasks import Forecaster, SequenceClassifier, SequenceTagger, TextClassifier
    from fastlstm.training import TrainingConfig

__version__ = _version()

__all__ = [
    "LSTM",
    "Choice",
    "Explanation",
    "Forecaster",
    "LSTMCell",
    "LSTMConfig",
    "LayerParameters",
    "LayerTrace",
    "SequenceClassifier",
    "SequenceTagger",
    "TextClassifier",
    "Trace",
    "TrainingConfig",
    "__version__",
    "backend",
    "explain",
    "lstm",
    "lstm_cell",
    "replace",
    "restore",
]

# What needs the packages of `fastlstm[tasks]` is loaded when it is first asked for.
_LAZY = {
    "Forecaster": "fastlstm.tasks",
    "LSTMConfig": "fastlstm.models",
    "SequenceClassifier": "fastlstm.tasks",
    "SequenceTagger": "fastlstm.tasks",
    "TextClassifier": "fastlstm.tasks",
    "TrainingConfig": "fastlstm.training",
}


def __getattr__(name: str) -> _Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'fastlstm' has no attribute {name!r}")
    try:
        value = getattr(_import_module(_LAZY[name]), name)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("fastlstm"):
            raise
        raise ModuleNotFoundError(
            f"fastlstm.{name} needs {error.name}: pip install 'fastlstm[tasks]'", name=error.name
        ) from error
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
