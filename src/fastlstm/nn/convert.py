"""Put ``fastlstm``'s layers where a model has PyTorch's, and back."""

from typing import Any, TypeVar

import torch

from fastlstm.nn.cell import LSTMCell
from fastlstm.nn.exchange import drop_switches, exchange_class, plain_class, refuse_switches
from fastlstm.nn.lstm import LSTM

Model = TypeVar("Model", bound=torch.nn.Module)

_OURS: dict[type, type] = {torch.nn.LSTM: LSTM, torch.nn.LSTMCell: LSTMCell}
_THEIRS: dict[type, type] = {ours: theirs for theirs, ours in _OURS.items()}


def replace(model: Model) -> Model:
    """Make every ``torch.nn.LSTM`` and ``torch.nn.LSTMCell`` in a model one of ``fastlstm``'s.

    The model is changed in place, itself included. Weights, training mode, device, dtype, hooks
    and parametrizations stay as they are. A class that somebody derived from ``torch.nn.LSTM`` is
    left alone: what it relies on cannot be known.

    Args:
        model: any module.

    Returns:
        The model.

    Raises:
        TypeError: ``model`` is not a module.
    """
    _check_module(model, "replace")
    for module in list(model.modules()):
        exchange_class(module, _OURS)
    return model


def restore(model: Model) -> Model:
    """Make every ``fastlstm.LSTM`` and ``fastlstm.LSTMCell`` in a model one of PyTorch's.

    Args:
        model: any module; changed in place.

    Returns:
        The model.

    Raises:
        ValueError: a layer has a switch on that PyTorch's cannot express; names it and the layer.
            Nothing has been changed then.
        TypeError: ``model`` is not a module.
    """
    _check_module(model, "restore")
    layers = [(n, module) for n, module in model.named_modules() if plain_class(module) in _THEIRS]
    for name, layer in layers:
        refuse_switches("restore", name, layer, _THEIRS[plain_class(layer)])
    for _, layer in layers:
        exchange_class(layer, _THEIRS)
        drop_switches(layer)
        if isinstance(layer, torch.nn.LSTM):
            layer.flatten_parameters()  # cuDNN wants them so
    return model


def _check_module(model: Any, function: str) -> None:
    if not isinstance(model, torch.nn.Module):
        raise TypeError(f"{function}: expected a torch.nn.Module, got {type(model).__name__}")
