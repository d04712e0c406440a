"""Run layers on layers, in one or both directions: the loop around the scan operator.

Everything here is time first: inputs are (T, B, I), states (layers · directions, B, ·).
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from fastlstm.nn.parameters import LayerParameters
from fastlstm.nn.switches import Switches
from fastlstm.ops import ScanArguments, ScanOutputs, scan
from fastlstm.ops.arguments import any_requires_grad
from fastlstm.ops.backends import forced
from fastlstm.ops.equations import live_at

States = tuple[Tensor, Tensor]
"""``h`` and ``c`` of every layer and direction: (layers · directions, B, ·) each."""


class Sequences(NamedTuple):
    """One padded batch, time first, and all that is said about it."""

    input: Tensor  # (T, B, I)
    initial: States
    lengths: Tensor | None = None  # (B), on the input's device
    reset: Tensor | None = None  # (T, B) bool
    reset_states: States | None = None


class Direction(NamedTuple):
    """The way a scan goes through time, and before which of its steps the state is set."""

    reverse: bool
    reset: Tensor | None  # (T, B) bool


class StackResult(NamedTuple):
    """What a stack of layers returns."""

    output: Tensor  # (T, B, directions · R)
    final: States
    scans: list[ScanOutputs]  # one for each layer and direction


def run_stack(
    sequences: Sequences,
    parameters: Sequence[LayerParameters],
    directions: int,
    switches: Switches,
    training: bool,
    keep_everything: bool = False,
) -> StackResult:
    """Run every layer over the whole batch.

    Args:
        sequences: the batch.
        parameters: those of each layer and direction, in ``nn.LSTM``'s order.
        directions: 1 or 2.
        switches: the layers' switches.
        training: whether dropout and zoneout draw masks.
        keep_everything: have each scan return its gates and cell states.
    """
    x = sequences.input
    scans: list[ScanOutputs] = []
    both = directions_of(sequences, directions)
    for first in range(0, len(parameters), directions):
        if first:
            x = _between_layers(x, switches, training)
        of_layer = []
        for number, direction in enumerate(both):
            arguments = scan_arguments(
                x,
                sequences,
                first + number,
                direction,
                parameters[first + number],
                switches,
                training,
                keep_everything,
            )
            of_layer.append(scan(arguments))
        scans.extend(of_layer)
        outputs = [result.output for result in of_layer]
        output = outputs[0] if directions == 1 else torch.cat(outputs, dim=-1)
        if switches.residual and x.shape[-1] == output.shape[-1]:
            output = output + _without_padding(x, sequences.lengths, first)
        x = output
    return StackResult(x, _final_states(scans), scans)


def _final_states(scans: list[ScanOutputs]) -> States:
    if len(scans) == 1:
        return scans[0].h_n.unsqueeze(0), scans[0].c_n.unsqueeze(0)
    return (
        torch.stack([result.h_n for result in scans]),
        torch.stack([result.c_n for result in scans]),
    )


def scan_arguments(
    x: Tensor,
    sequences: Sequences,
    index: int,
    direction: Direction,
    parameters: LayerParameters,
    switches: Switches,
    training: bool,
    keep_everything: bool = False,
) -> ScanArguments:
    """What the scan of one layer and direction gets.

    Args:
        x: what the layer reads, (T, B, I).
        sequences: the batch.
        index: of the layer and direction.
        direction: the direction, with its resets.
        parameters: those of the layer and direction.
        switches: the layers' switches.
        training: whether to draw masks.
        keep_everything: have the scan return its gates and cell states.
    """
    of_h, of_c = sequences.initial
    h_0 = of_h[index]
    c_0 = h_0 if of_c is of_h else of_c[index]  # zeros, both
    reset_h, reset_c = None, None
    if sequences.reset is not None and sequences.reset_states is not None:
        reset_h, reset_c = sequences.reset_states[0][index], sequences.reset_states[1][index]
    masks: tuple[Tensor | None, Tensor | None, Tensor | None] = (None, None, None)
    if training:
        masks = _draw_masks(x.shape[0], h_0, c_0, switches)
        if switches.weight_dropout:
            dropped = F.dropout(parameters.weight_hh, switches.weight_dropout)
            parameters = LayerParameters(parameters.weight_ih, dropped, *parameters[2:])
    differentiable = (x, h_0, c_0, reset_h, reset_c, *parameters)
    return ScanArguments(
        x,
        h_0,
        c_0,
        reset_h,
        reset_c,
        *parameters,
        lengths=sequences.lengths,
        reset=direction.reset,
        recurrent_mask=masks[0],
        zoneout_cell_mask=masks[1],
        zoneout_hidden_mask=masks[2],
        zoneout_cell=switches.zoneout[0],
        zoneout_hidden=switches.zoneout[1],
        cell_clip=switches.cell_clip or 0.0,
        coupled_gates=switches.coupled_gates,
        reverse=direction.reverse,
        save_every=1 if keep_everything else _save_every(differentiable, switches),
        backend=forced(),
    )


def _draw_masks(
    steps: int, h_0: Tensor, c_0: Tensor, switches: Switches
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """The masks of one training sequence: on h before R, and of the zoneout of c and of h."""
    recurrent, of_cell, of_hidden = None, None, None
    if switches.recurrent_dropout:
        recurrent = F.dropout(torch.ones_like(h_0), switches.recurrent_dropout)
    if switches.zoneout[0]:
        of_cell = torch.rand(steps, *c_0.shape, device=c_0.device) < switches.zoneout[0]
    if switches.zoneout[1]:
        of_hidden = torch.rand(steps, *h_0.shape, device=h_0.device) < switches.zoneout[1]
    return recurrent, of_cell, of_hidden


def _save_every(differentiable: Sequence[Tensor | None], switches: Switches) -> int:
    """How much the scan keeps for a backward pass: nothing where there will be none.

    Only a hint: a backward pass that finds nothing recomputes what it needs. So a trace by
    ``torch.jit`` keeps nothing, with gradients or without: it must be the same graph for both.
    """
    if not torch.is_grad_enabled() or not any_requires_grad(differentiable):
        return 0
    if torch.jit.is_tracing():  # type: ignore[reportPrivateImportUsage]
        return 0
    return switches.checkpoint_every or 1


def directions_of(sequences: Sequences, directions: int) -> list[Direction]:
    """The forward direction, and the backward one if there are two, each with its resets.

    A reset at step t is a boundary between t - 1 and t that no state crosses. The forward
    direction meets it before it reads t; the backward direction before it reads t - 1.
    """
    reset = sequences.reset
    forward = Direction(reverse=False, reset=reset)
    if directions == 1:
        return [forward]
    if reset is None:
        return [forward, Direction(reverse=True, reset=None)]
    real = reset
    if sequences.lengths is not None:
        real = reset & live_at(reset.shape[0], sequences.lengths)
    after = torch.cat((real[1:], torch.zeros_like(real[:1])))
    return [forward, Direction(reverse=True, reset=after)]


def _between_layers(x: Tensor, switches: Switches, training: bool) -> Tensor:
    x = F.dropout(x, switches.dropout, training) if switches.dropout else x
    if training and switches.locked_dropout:
        x = x * F.dropout(torch.ones_like(x[:1]), switches.locked_dropout)
    return x


def _without_padding(x: Tensor, lengths: Tensor | None, layer: int) -> Tensor:
    """The first layer's input with zeros past each row's end; later ones have them already."""
    if lengths is None or layer:
        return x
    return torch.where(live_at(x.shape[0], lengths).unsqueeze(-1), x, 0.0)
