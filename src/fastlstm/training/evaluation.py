"""Measure a network on examples, each counted once however many processes there are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch

from fastlstm.training.batches import evaluation_batches
from fastlstm.training.examples import Examples
from fastlstm.training.hardware import Hardware
from fastlstm.training.objective import Derived, Objective, Sum
from fastlstm.training.settings import TrainingConfig


def evaluate(objective: Objective, examples: Examples, config: TrainingConfig) -> dict[str, float]:
    """Measure the network of `objective`, as `fit` does after each epoch.

    Args:
        objective: gives the network and the figures.
        examples: at least one.
        config: gives the batch size, the precision, the device and the threads.

    Returns:
        Each figure by name; NaN where nothing was counted.

    Raises:
        TrainingError: the device or the precision is not to be had.
    """
    network = objective.network
    home = next(network.parameters()).device
    training = network.training
    with Hardware(replace(config, trackers=())) as hardware:
        try:
            network.to(hardware.device)
            return evaluate_on(objective, examples, config, hardware)
        finally:
            network.train(training).to(home)


def evaluate_on(
    objective: Objective, examples: Examples, config: TrainingConfig, hardware: Hardware
) -> dict[str, float]:
    """Measure the network of `objective`, which is on the device; leaves it in evaluation mode."""
    lengths = examples.lengths if config.bucket else None
    plan = evaluation_batches(len(examples), config.batch_size, lengths)
    # A process without a batch would not know the names of the figures: then all do everything.
    shared = len(plan) >= hardware.processes
    mine = plan[hardware.process :: hardware.processes] if shared else plan

    def batches() -> Iterator[object]:
        for indices in mine:
            yield hardware.to_device(examples.batch(indices.tolist()))

    objective.network.eval()
    with torch.no_grad(), hardware.autocast():
        sums = objective.evaluate(batches())
    names = sorted(sums)
    values = hardware.add_up([float(value) for name in names for value in sums[name]])
    if not shared:
        values = [value / hardware.processes for value in values]
    pairs = zip(values[::2], values[1::2], strict=True)
    added = {name: Sum(*pair) for name, pair in zip(names, pairs, strict=True)}
    added = {name: added[name] for name in sums}
    if isinstance(objective, Derived):
        return dict(objective.figures(added))
    return {name: found.mean for name, found in added.items()}
