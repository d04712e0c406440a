"""Every gate and state of every layer and step."""

from typing import NamedTuple

import torch
from torch import Tensor

from fastlstm.nn.inputs import Layout
from fastlstm.nn.stack import StackResult, States
from fastlstm.ops import ScanOutputs
from fastlstm.ops.arguments import gate_count
from fastlstm.ops.equations import live_at


class LayerTrace(NamedTuple):
    """One layer in one direction at every step; each is laid out like the layer's input.

    Past the end of a row (``lengths``) everything is zero.
    """

    input_gate: Tensor  # i: (T, B, H)
    forget_gate: Tensor  # f: (T, B, H)
    cell_gate: Tensor  # g: (T, B, H)
    output_gate: Tensor  # o: (T, B, H)
    cell: Tensor  # c, after the step: (T, B, H)
    hidden: Tensor  # h, after the step: (T, B, R)


class Trace(NamedTuple):
    """What ``LSTM.trace`` returns: what ``forward`` returns, and each layer's inside."""

    output: Tensor
    final: States
    layers: list[LayerTrace]  # forward, backward direction of layer 0, of layer 1, …


def make_trace(
    result: StackResult, layout: Layout, coupled_gates: bool, lengths: Tensor | None
) -> Trace:
    """A trace in the user's layout from a run that kept everything."""
    live = None
    if lengths is not None:
        live = live_at(result.output.shape[0], lengths).unsqueeze(-1)
    return Trace(
        layout.from_time_first(result.output),
        layout.from_states(result.final),
        [_layer_trace(scanned, layout, coupled_gates, live) for scanned in result.scans],
    )


def _layer_trace(
    scanned: ScanOutputs, layout: Layout, coupled_gates: bool, live: Tensor | None
) -> LayerTrace:
    gates = scanned.gates.chunk(gate_count(coupled_gates), dim=-1)
    f, g, o = gates[-3:]
    i = gates[0]
    if coupled_gates:
        i = 1 - f if live is None else torch.where(live, 1 - f, 0.0)
    cell = scanned.cells.to(scanned.output.dtype)
    return LayerTrace(
        *(layout.from_time_first(value) for value in (i, f, g, o, cell, scanned.output))
    )
