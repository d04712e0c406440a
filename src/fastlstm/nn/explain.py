"""Which back end serves a layer, and why."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from fastlstm.nn import cudnn, inputs, packed
from fastlstm.nn.cell import LSTMCell
from fastlstm.nn.lstm import LSTM
from fastlstm.nn.parameters import LayerParameters, LayerShapes, shapes_of
from fastlstm.nn.stack import Sequences, directions_of, scan_arguments
from fastlstm.ops import backends


class Choice(NamedTuple):
    """How one layer and direction is served."""

    layer: int
    reverse: bool
    backend: str  # the back end that serves
    reason: str


class Explanation(NamedTuple):
    """What ``fastlstm.explain`` returns; ``str()`` of it is for people."""

    choices: tuple[Choice, ...]

    def __str__(self) -> str:
        return "\n".join(
            f"layer {choice.layer}{', backward direction' if choice.reverse else ''}: "
            f"{choice.backend} ({choice.reason})"
            for choice in self.choices
        )


def explain(layer: LSTM | LSTMCell, input: Tensor | PackedSequence) -> Explanation:
    """Say which back end would serve a layer on this input, and why.

    Nothing is run.

    Args:
        layer: a ``fastlstm.LSTM`` or ``fastlstm.LSTMCell``.
        input: what the layer would be called with.

    Returns:
        One ``Choice`` for each layer and direction.

    Raises:
        TypeError: ``layer`` is neither.
        RuntimeError: a forced back end cannot serve this; says why.
        ValueError, RuntimeError, TypeError: the input does not fit the layer, as in ``forward``.
    """
    if isinstance(layer, LSTM):
        parameters, switches = layer.layer_parameters(), layer._switches
        directions = layer._directions
    elif isinstance(layer, LSTMCell):
        parameters, switches, directions = [layer.layer_parameters()], layer._switches, 1
    else:
        raise TypeError(
            "explain: expected a fastlstm.LSTM or fastlstm.LSTMCell, "
            f"got {type(layer).__module__}.{type(layer).__qualname__}"
        )
    shapes = shapes_of(parameters, directions, switches)
    sequences, whole_batch = _prepared(layer, input, shapes, parameters[0].weight_ih.dtype)
    whole = cudnn.choose(whole_batch, parameters, directions, switches, layer.training)
    choices = []
    both = directions_of(sequences, directions)
    for index, of_layer in enumerate(parameters):
        number, direction = index // directions, both[index % directions]
        x = sequences.input if number == 0 else _input_of(of_layer, sequences.input)
        arguments = scan_arguments(
            x, sequences, index, direction, of_layer, switches, training=False
        )
        if whole.serves:
            name, reason = backends.CUDNN, whole.reason
        else:
            name, reason = backends.explain(arguments)
        if x.is_cuda and not whole.serves and not arguments.backend:
            reason = f"{backends.CUDNN}: {whole.reason}; {reason}"
        choices.append(Choice(number, direction.reverse, name, reason))
    return Explanation(tuple(choices))


def _prepared(
    layer: LSTM | LSTMCell, input: Tensor | PackedSequence, shapes: LayerShapes, dtype: torch.dtype
) -> tuple[Sequences, Sequences]:
    """What the scans get, and what cuDNN does."""
    if isinstance(layer, LSTMCell):
        sequences, _ = inputs.prepare_cell(input, None, shapes, dtype)  # type: ignore[arg-type]
        return sequences, sequences
    if not isinstance(input, PackedSequence):
        first = layer.batch_first
        sequences, _ = inputs.prepare(input, None, shapes, dtype, first, None, None, None)
        return sequences, sequences
    inputs.check_packed(input, None)
    batch = packed.unpack(input)
    sequences, _ = inputs.prepare(
        batch.input, None, shapes, dtype, False, batch.lengths, None, None
    )
    return sequences, sequences._replace(input=input.data, lengths=None)


def _input_of(parameters: LayerParameters, x: Tensor) -> Tensor:
    """Something shaped like what a higher layer reads."""
    return x.new_empty(1).expand(*x.shape[:2], parameters.weight_ih.shape[1])
