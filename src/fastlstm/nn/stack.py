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
    resets = _resets(sequences, directions)
    for first in range(0, len(parameters), directions):
        if first:
            x = _between_layers(x, switches, training)
        of_layer = []
        for direction in range(directions):
            index = first + direction
            arguments = _scan_arguments(
                x, sequences, index, resets[direction], parameters[index], switches, training
            )
            arguments = arguments._replace(
                reverse=direction == 1,
                save_every=1 if keep_everything else _save_every(arguments, switches),
            )
            of_layer.append(scan(arguments))
        scans.extend(of_layer)
        outputs = [result.output for result in of_layer]
        output = outputs[0] if directions == 1 else torch.cat(outputs, dim=-1)
        if switches.residual and x.shape[-1] == output.shape[-1]:
            output = output + _without_padding(x, sequences.lengths, first)
        x = output
    final = (
        torch.stack([result.h_n for result in scans]),
        torch.stack([result.c_n for result in scans]),
    )
    return StackResult(x, final, scans)


def scan_arguments(
    sequences: Sequences, index: int, parameters: LayerParameters, switches: Switches
) -> ScanArguments:
    """What the scan of one layer and direction gets, without masks; for ``explain``."""
    return _scan_arguments(
        sequences.input, sequences, index, sequences.reset, parameters, switches, training=False
    )


def _scan_arguments(
    x: Tensor,
    sequences: Sequences,
    index: int,
    reset: Tensor | None,
    parameters: LayerParameters,
    switches: Switches,
    training: bool,
) -> ScanArguments:
    h_0, c_0 = (state[index] for state in sequences.initial)
    reset_h, reset_c = None, None
    if sequences.reset is not None and sequences.reset_states is not None:
        reset_h, reset_c = (state[index] for state in sequences.reset_states)
    if training and switches.weight_dropout:
        parameters = parameters._replace(
            weight_hh=F.dropout(parameters.weight_hh, switches.weight_dropout)
        )
    arguments = ScanArguments(
        x,
        h_0,
        c_0,
        reset_h,
        reset_c,
        *parameters,
        lengths=sequences.lengths,
        reset=reset,
        zoneout_cell=switches.zoneout[0],
        zoneout_hidden=switches.zoneout[1],
        cell_clip=switches.cell_clip or 0.0,
        coupled_gates=switches.coupled_gates,
        backend=forced(),
    )
    return _with_masks(arguments, switches) if training else arguments


def _with_masks(arguments: ScanArguments, switches: Switches) -> ScanArguments:
    """The same arguments with the random masks of one training sequence."""
    steps = arguments.input.shape[0]
    if switches.recurrent_dropout:
        mask = F.dropout(torch.ones_like(arguments.h_0), switches.recurrent_dropout)
        arguments = arguments._replace(recurrent_mask=mask)
    for name, state, rate in (
        ("zoneout_cell_mask", arguments.c_0, switches.zoneout[0]),
        ("zoneout_hidden_mask", arguments.h_0, switches.zoneout[1]),
    ):
        if rate:
            draws = torch.rand(steps, *state.shape, device=state.device)
            arguments = arguments._replace(**{name: draws < rate})
    return arguments


def _save_every(arguments: ScanArguments, switches: Switches) -> int:
    """How much the scan keeps for a backward pass: nothing where there will be none.

    Only a hint: a backward pass that finds nothing recomputes what it needs. So a trace by
    ``torch.jit`` keeps nothing, with gradients or without: it must be the same graph for both.
    """
    if not torch.is_grad_enabled() or not _any_requires_grad(arguments):
        return 0
    if torch.jit.is_tracing():  # type: ignore[reportPrivateImportUsage]
        return 0
    return switches.checkpoint_every or 1


def _any_requires_grad(arguments: ScanArguments) -> bool:
    if torch.compiler.is_compiling():  # Dynamo cannot look into the function below
        return any(isinstance(value, Tensor) and value.requires_grad for value in arguments)
    return torch._C._any_requires_grad(*arguments)


def _resets(sequences: Sequences, directions: int) -> list[Tensor | None]:
    """For each direction, before which of its steps the state is set.

    A reset at step t is a boundary between t - 1 and t that no state crosses. The forward
    direction meets it before it reads t; the backward direction before it reads t - 1.
    """
    reset = sequences.reset
    if reset is None or directions == 1:
        return [reset] * directions
    real = reset
    if sequences.lengths is not None:
        real = reset & live_at(reset.shape[0], sequences.lengths)
    return [reset, torch.cat((real[1:], torch.zeros_like(real[:1])))]


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
