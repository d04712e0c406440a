"""The parameters that the switches add, and every parameter's initial value."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import Parameter, init

from fastlstm.ops.arguments import gate_count


class Initialized(Protocol):
    """What initial values depend on."""

    hidden_size: int
    coupled_gates: bool
    forget_bias: float | None


def initialize(layer: Initialized, parameters: Mapping[str, Tensor]) -> None:
    """Give the named parameters their initial values, in the given order.

    Weights, biases and peepholes are uniform in ± 1/√H, as in ``torch.nn.LSTM``; the gains of
    layer norm are one and its bias zero. With a forget bias b_f = ``bias_ih + bias_hh`` is that.
    """
    bound = 1 / math.sqrt(layer.hidden_size) if layer.hidden_size else 0.0
    for name, parameter in parameters.items():
        if name.startswith("norm_cell_bias"):
            init.zeros_(parameter)
        elif name.startswith("norm_"):
            init.ones_(parameter)
        else:
            init.uniform_(parameter, -bound, bound)
    set_forget_bias(layer, parameters)


def set_forget_bias(layer: Initialized, parameters: Mapping[str, Tensor]) -> None:
    """Where there is a forget bias make b_f that, in those of the parameters that are biases."""
    if layer.forget_bias is None:
        return
    with torch.no_grad():
        for name, parameter in parameters.items():
            if name.startswith("bias_"):
                parameter[forget_rows(layer)] = (
                    layer.forget_bias if name.startswith("bias_ih") else 0.0
                )


def forget_rows(layer: Initialized) -> slice:
    """The rows of the forget gate in a weight or bias."""
    first = 0 if layer.coupled_gates else layer.hidden_size
    return slice(first, first + layer.hidden_size)


def switch_shapes(layer: Any) -> dict[str, tuple[int, ...]]:
    """The shapes of one layer's parameters that ``torch.nn.LSTM`` has not."""
    hidden, gates = layer.hidden_size, gate_count(layer.coupled_gates)
    shapes: dict[str, tuple[int, ...]] = {}
    if layer.peephole:
        shapes["weight_peephole"] = (gates - 1, hidden)
    if layer.layer_norm:
        shapes["norm_ih"] = (gates * hidden,)
        shapes["norm_hh"] = (gates * hidden,)
        shapes["norm_cell"] = (hidden,)
        if layer.bias:
            shapes["norm_cell_bias"] = (hidden,)
    return shapes


def add_switch_parameters(
    layer: Any, suffixes: Sequence[str], device: Any, dtype: torch.dtype | None
) -> list[str]:
    """Add to a new layer the parameters that its switches need, with their initial values.

    What ``torch.nn``'s layer has too keeps the values that it drew, but for coupled gates, whose
    weights have other shapes.

    Args:
        layer: an ``LSTM`` or an ``LSTMCell`` with its switches set.
        suffixes: what follows a parameter's name, for each layer and direction.
        device: where the parameters are.
        dtype: their dtype.

    Returns:
        The names that were added.
    """
    if layer.coupled_gates:
        _drop_input_gate(layer)
    added: dict[str, Tensor] = {}
    for suffix in suffixes:
        for kind, shape in switch_shapes(layer).items():
            name = kind + suffix
            added[name] = Parameter(torch.empty(shape, device=device, dtype=dtype))
            layer.register_parameter(name, added[name])
    initialize(layer, added)
    set_forget_bias(layer, dict(layer.named_parameters()))
    return list(added)


def _drop_input_gate(layer: Any) -> None:
    """Give every weight and bias that has rows of gates the rows of f, g and o alone."""
    for name, parameter in list(layer.named_parameters()):
        if not name.startswith("weight_hr"):
            shape = (3 * layer.hidden_size, *parameter.shape[1:])
            setattr(layer, name, Parameter(parameter.new_empty(shape)))
    layer.reset_parameters()
