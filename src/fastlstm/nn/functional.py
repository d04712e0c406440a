"""The functional forms: the layer and the cell with their parameters as arguments."""

from collections.abc import Mapping, Sequence

from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from fastlstm.nn import cudnn, inputs, packed
from fastlstm.nn.parameters import (
    LayerParameters,
    as_layer_parameters,
    check_layer_parameters,
    shapes_of,
)
from fastlstm.nn.stack import Sequences, StackResult, States, run_stack
from fastlstm.nn.switches import Switches, check_residual, make_switches


def lstm(
    input: Tensor | PackedSequence,
    hx: States | None,
    parameters: Sequence[LayerParameters | Mapping[str, Tensor]],
    *,
    batch_first: bool = False,
    bidirectional: bool = False,
    training: bool = False,
    dropout: float = 0.0,
    coupled_gates: bool = False,
    recurrent_dropout: float = 0.0,
    weight_dropout: float = 0.0,
    locked_dropout: float = 0.0,
    zoneout: float | tuple[float, float] = 0.0,
    cell_clip: float | None = None,
    residual: bool = False,
    checkpoint_every: int | None = None,
    lengths: Tensor | None = None,
    reset: Tensor | None = None,
    reset_state: States | None = None,
) -> tuple[Tensor | PackedSequence, States]:
    """Run an LSTM whose parameters are given: ``fastlstm.LSTM`` as a function.

    Projection, biases, peepholes and layer norm are on where their parameters are given. Every
    other switch is described, with its source, in ``fastlstm.LSTM``; ``lengths``, ``reset`` and
    ``reset_state`` in its ``forward``.

    Args:
        input: (T, B, I), (B, T, I) with ``batch_first``, (T, I), or a ``PackedSequence``.
        hx: ``(h_0, c_0)``, (L·D, B, R) and (L·D, B, H), or None for zeros.
        parameters: ``LayerParameters`` (or a mapping of the same names) for each layer and
            direction: forward and backward of layer 0, of layer 1, … ``LSTM.layer_parameters()``
            returns such a list.
        batch_first: the input and output are (B, T, ·).
        bidirectional: there are parameters for a backward direction too.
        training: whether dropout and zoneout draw masks.
        dropout: the rate of dropout after each layer but the last.
        coupled_gates: i = 1 - f.
        recurrent_dropout: the rate of a mask on h for the whole sequence.
        weight_dropout: the rate of DropConnect on R.
        locked_dropout: the rate of a mask between layers for all time steps.
        zoneout: the rate for c and h, or a pair.
        cell_clip: c' is clipped to ± this.
        residual: a layer's input is added to its output.
        checkpoint_every: keep every k-th state, recompute the rest in the backward pass.
        lengths: (B) integers, how many steps of each row are real.
        reset: bool, true where the state is set before a step.
        reset_state: the states that a reset sets.

    Returns:
        ``(output, (h_n, c_n))`` as ``torch.nn.LSTM`` does.

    Raises:
        RuntimeError, ValueError, TypeError: as ``fastlstm.LSTM``.
    """
    layers = as_layer_parameters(parameters, "lstm")
    switches = make_switches(
        coupled_gates=coupled_gates,
        dropout=dropout,
        recurrent_dropout=recurrent_dropout,
        weight_dropout=weight_dropout,
        locked_dropout=locked_dropout,
        zoneout=zoneout,
        cell_clip=cell_clip,
        residual=residual,
        checkpoint_every=checkpoint_every,
    )
    directions = 2 if bidirectional else 1
    shapes = shapes_of(layers, directions, switches)
    check_layer_parameters(layers, shapes, switches, "lstm")
    check_residual(residual, shapes.input_size, shapes.recurrent_size * directions, shapes.layers)
    return run(
        input, hx, layers, directions, switches, training, batch_first, lengths, reset, reset_state
    )


def run(
    input: Tensor | PackedSequence,
    hx: States | None,
    layers: list[LayerParameters],
    directions: int,
    switches: Switches,
    training: bool,
    batch_first: bool,
    lengths: Tensor | None,
    reset: Tensor | None,
    reset_state: States | None,
) -> tuple[Tensor | PackedSequence, States]:
    """What ``lstm`` and ``LSTM.forward`` do once their switches are checked."""
    if not isinstance(input, PackedSequence):
        return run_padded(
            input,
            hx,
            layers,
            directions,
            switches,
            training,
            batch_first,
            lengths,
            reset,
            reset_state,
        )
    inputs.check_packed(input, lengths)
    shapes = shapes_of(layers, directions, switches)
    dtype = layers[0].weight_ih.dtype
    if cudnn.is_asked(input.data):  # before anything is padded for the scans
        batch = packed.outline(input)
        sequences, _ = inputs.prepare(
            batch.input, hx, shapes, dtype, False, None, reset, reset_state
        )
        flat = _in_packed_order(sequences, batch)._replace(input=input.data)
        sizes = input.batch_sizes.tolist()
        whole = cudnn.run(flat, layers, directions, switches, training, sizes)
        if whole is not None:
            return batch.as_packed(whole.output), batch.states_out(whole.final)
    batch = packed.unpack(input)
    sequences, _ = inputs.prepare(
        batch.input, hx, shapes, dtype, False, batch.lengths, reset, reset_state
    )
    sequences = _in_packed_order(sequences, batch)
    result = run_stack(sequences, layers, directions, switches, training)
    return batch.pack(result.output), batch.states_out(result.final)


def run_padded(
    input: Tensor,
    hx: States | None,
    layers: list[LayerParameters],
    directions: int,
    switches: Switches,
    training: bool,
    batch_first: bool,
    lengths: Tensor | None = None,
    reset: Tensor | None = None,
    reset_state: States | None = None,
) -> tuple[Tensor, States]:
    """``run`` on an input that is not packed."""
    shapes = shapes_of(layers, directions, switches)
    dtype = layers[0].weight_ih.dtype
    sequences, layout = inputs.prepare(
        input, hx, shapes, dtype, batch_first, lengths, reset, reset_state
    )
    result = _run_layers(sequences, layers, directions, switches, training)
    return layout.from_time_first(result.output), layout.from_states(result.final)


def _run_layers(
    sequences: Sequences,
    layers: list[LayerParameters],
    directions: int,
    switches: Switches,
    training: bool,
) -> StackResult:
    """All layers, whole by cuDNN or one scan after another."""
    whole = cudnn.run(sequences, layers, directions, switches, training)
    if whole is not None:
        return whole
    return run_stack(sequences, layers, directions, switches, training)


def _in_packed_order(sequences: Sequences, batch: packed.Unpacked) -> Sequences:
    """What the user gave beside the packed input is in the user's order of rows."""
    initial, reset_states = sequences.initial, sequences.reset_states
    return sequences._replace(
        initial=batch.states_in(initial),
        reset=None if sequences.reset is None else batch.rows_in(sequences.reset, 1),
        reset_states=batch.states_in(reset_states),
    )


def lstm_cell(
    input: Tensor,
    hx: States | None,
    parameters: LayerParameters | Mapping[str, Tensor],
    *,
    training: bool = False,
    coupled_gates: bool = False,
    zoneout: float | tuple[float, float] = 0.0,
    cell_clip: float | None = None,
) -> States:
    """One time step with parameters that are given: ``fastlstm.LSTMCell`` as a function.

    Args:
        input: (B, I) or (I).
        hx: ``(h, c)``, (B, R) and (B, H), or without the batch; zeros if None.
        parameters: the cell's ``LayerParameters``, or a mapping of the same names.
        training: whether zoneout draws a mask.
        coupled_gates: i = 1 - f.
        zoneout: the rate, or a pair of rates for c and h.
        cell_clip: c' is clipped to ± this.

    Returns:
        ``(h', c')``, shaped like ``hx``.

    Raises:
        RuntimeError, ValueError, TypeError: as ``fastlstm.LSTMCell``.
    """
    layers = as_layer_parameters([parameters], "lstm_cell")
    switches = make_switches(coupled_gates=coupled_gates, zoneout=zoneout, cell_clip=cell_clip)
    shapes = shapes_of(layers, 1, switches)
    check_layer_parameters(layers, shapes, switches, "lstm_cell")
    return run_cell(input, hx, layers[0], switches, training)


def run_cell(
    input: Tensor,
    hx: States | None,
    layer: LayerParameters,
    switches: Switches,
    training: bool,
) -> States:
    """What ``lstm_cell`` and ``LSTMCell.forward`` do once their switches are checked."""
    shapes = shapes_of([layer], 1, switches)
    sequences, batched = inputs.prepare_cell(input, hx, shapes, layer.weight_ih.dtype)
    h, c = _run_layers(sequences, [layer], 1, switches, training).final
    return (h[0], c[0]) if batched else (h[0, 0], c[0, 0])
