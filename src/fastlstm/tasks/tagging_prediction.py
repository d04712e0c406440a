"""A trained tagger over sequences of any length and number."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from fastlstm.models import Tagger
from fastlstm.tasks.placing import beside
from fastlstm.tasks.tagging_steps import Piece, StepBatch, Steps

# Of a batch: so many sequences at most, and so many steps with their padding.
BATCH_ROWS = 64
BATCH_STEPS = 16_384
# A network of one direction reads so many steps of a batch at once, and carries its state on.
STRETCH_STEPS = 4_096

Read = Callable[[dict[str, Tensor], Tensor], dict[str, Tensor]]
"""From scores (B, T, K) and lengths (B) to answers (B, T, …), for each target."""


def answers(network: Tagger, steps: Steps, read: Read) -> dict[str, list[np.ndarray]]:
    """What `read` makes of the scores, for each target an array (T_i, …) of each sequence."""
    found: dict[str, dict[int, np.ndarray]] = {name: {} for name in network.config.targets}
    every = steps.lengths
    network.eval()
    with torch.inference_mode():
        for indices in _batches(every):
            pieces = [Piece(index, 0, every[index]) for index in indices]
            batch = beside(network, steps.batch(pieces))
            for name, values in read(_scores(network, batch), batch.lengths).items():
                for index, row in zip(indices, values.cpu(), strict=True):
                    found[name][index] = row[: every[index]].numpy()
    return {name: [rows[index] for index in range(len(rows))] for name, rows in found.items()}


def _batches(lengths: Sequence[int]) -> list[list[int]]:
    """All sequences in batches of like lengths, the shortest first; a very long one is alone."""
    batches: list[list[int]] = [[]]
    for index in sorted(range(len(lengths)), key=lambda index: lengths[index]):
        batch = batches[-1]
        full = len(batch) == BATCH_ROWS or (len(batch) + 1) * lengths[index] > BATCH_STEPS
        if batch and full:
            batches.append([])
        batches[-1].append(index)
    return batches


def _scores(network: Tagger, batch: StepBatch) -> dict[str, Tensor]:
    """The scores (B, T, K) of each target."""
    inputs, lengths, characters = batch
    if network.config.lstm.bidirectional:
        return network(inputs, lengths, characters)
    parts, state = [], None
    length = inputs.shape[1]
    for start in range(0, length, STRETCH_STEPS):
        stop = min(start + STRETCH_STEPS, length)
        scores, state = network.advance(
            inputs[:, start:stop],
            (lengths - start).clamp(0, stop - start),
            None if characters is None else characters[:, start:stop],
            state,
        )
        parts.append(scores)
    return {name: torch.cat([part[name] for part in parts], dim=1) for name in parts[0]}
