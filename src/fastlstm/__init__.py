"""The LSTM for PyTorch: every variant, on every device, at the speed of the hardware."""

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

__version__ = _version()

__all__ = [
    "LSTM",
    "Choice",
    "Explanation",
    "LSTMCell",
    "LayerParameters",
    "LayerTrace",
    "Trace",
    "__version__",
    "backend",
    "explain",
    "lstm",
    "lstm_cell",
    "replace",
    "restore",
]
