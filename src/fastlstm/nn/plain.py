"""From a layer straight to the engine, where ``ops.plain`` serves the call."""

from typing import Any, Protocol

import torch

from fastlstm.ops import plain
from fastlstm.ops.plain import Form


class _Module(Protocol):
    bias: bool
    _parameters: dict[str, Any]

    def _is_plain(self) -> bool: ...


class _Layer(_Module, Protocol):
    batch_first: bool
    _flat_weights_names: list[str]


_SEQUENCE = Form(has_steps=True, batch_first=False, stacked=True)
_BATCH_FIRST = Form(has_steps=True, batch_first=True, stacked=True)
_STEP = Form(has_steps=False, batch_first=False, stacked=True)
_CELL = Form(has_steps=False, batch_first=False, stacked=False)


def run_layers(layer: _Layer, input: Any, states: Any, has_steps: bool) -> Any:
    """What a ``fastlstm.LSTM`` without switches returns, or None.

    Args:
        layer: the layer.
        input: what the user gave to ``forward``, with ``has_steps``, or to ``step``.
        states: what the user gave for the states.
        has_steps: whether the input is a sequence.
    """
    form = _STEP if not has_steps else _BATCH_FIRST if layer.batch_first else _SEQUENCE
    return _run(layer, layer._flat_weights_names, input, states, form)


def run_cell(cell: _Module, input: Any, states: Any) -> Any:
    """What a ``fastlstm.LSTMCell`` without switches returns, or None."""
    names = ["weight_ih", "weight_hh", "bias_ih", "bias_hh"]
    return _run(cell, names if cell.bias else names[:2], input, states, _CELL)


def _run(
    module: _Module,
    names: list[str],
    input: Any,
    states: Any,
    form: Form,
) -> Any:
    if torch.compiler.is_compiling() or not module._is_plain():
        return None
    if states is not None:
        if not isinstance(states, (tuple, list)) or len(states) != 2:
            return None
        states = (states[0], states[1])
    own = module._parameters  # read at each call, so that `functional_call` is seen
    try:
        parameters = [own[name] for name in names]
    except KeyError:
        return None  # a parametrized one is made by the module at each call
    return plain.run(input, states, parameters, module.bias, form)
