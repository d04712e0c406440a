"""The layers: drop-in modules, their functional forms, and the change to and from PyTorch's."""

from fastlstm.nn.cell import LSTMCell
from fastlstm.nn.convert import replace, restore
from fastlstm.nn.explain import Choice, Explanation, explain
from fastlstm.nn.functional import lstm, lstm_cell
from fastlstm.nn.lstm import LSTM
from fastlstm.nn.parameters import LayerParameters
from fastlstm.nn.trace import LayerTrace, Trace

__all__ = [
    "LSTM",
    "Choice",
    "Explanation",
    "LSTMCell",
    "LayerParameters",
    "LayerTrace",
    "Trace",
    "explain",
    "lstm",
    "lstm_cell",
    "replace",
    "restore",
]
