"""The learning-rate range test."""

from __future__ import annotations

import copy
import math
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import count, islice

import numpy

from fastlstm.training import generators
from fastlstm.training.batches import share, training_batches
from fastlstm.training.errors import TrainingError
from fastlstm.training.examples import Examples
from fastlstm.training.hardware import Hardware
from fastlstm.training.objective import Objective
from fastlstm.training.settings import TrainingConfig
from fastlstm.training.updates import Share, Updater

LOWEST = 1e-6
HIGHEST = 1.0
# The share of the past in the smoothed loss.
SMOOTHING = 0.9
# The loss that is so many times the smallest has diverged, and nothing after it tells anything.
DIVERGED = 4.0


@dataclass(frozen=True)
class LearningRates:
    """The result of `lr_find`.

    Attributes:
        rates: the learning rates tried, rising.
        losses: the smoothed loss at each.
        suggestion: the rate at which the loss falls most steeply.
    """

    rates: list[float]
    losses: list[float]
    suggestion: float


def lr_find(
    objective: Objective, train: Examples, config: TrainingConfig, *, steps: int = 100
) -> LearningRates:
    """Find a learning rate by training with a rising one (Smith 2017, arXiv:1506.01186, §3.3).

    The rate rises exponentially from 1e-6 to 1, and stops where the loss diverges. The network is
    left as it was, and so are the global random generators.

    Args:
        objective: the network and its loss.
        train: the training examples.
        config: as for the training; its learning rate and schedule are not used.
        steps: batches to train on, at least 10.

    Raises:
        TrainingError: `steps` is too small, the loss is not finite at the lowest rate, or it falls
            at none.
    """
    if steps < 10:
        raise TrainingError(f"steps is {steps}: expected at least 10")
    network = objective.network
    before = copy.deepcopy(network.state_dict())
    home = next(network.parameters()).device
    training = network.training
    with ExitStack() as stack:
        hardware = stack.enter_context(Hardware(replace(config, trackers=())))
        stack.enter_context(generators.seeded(config.seed, hardware.device))
        stack.callback(lambda: network.train(training).to(home).load_state_dict(before))
        network.to(hardware.device).train()
        hardware.share_network(network)
        rates, losses = _ramp(objective, train, config, steps, hardware)
    return LearningRates(rates, losses, _steepest(rates, losses))


def _ramp(
    objective: Objective, train: Examples, config: TrainingConfig, steps: int, hardware: Hardware
) -> tuple[list[float], list[float]]:
    updater = Updater(objective, config, hardware)
    lengths = train.lengths if config.bucket else None
    batches = (
        batch
        for epoch in count(1)
        for batch in training_batches(len(train), config.batch_size, config.seed, epoch, lengths)
    )
    rates: list[float] = []
    losses: list[float] = []
    mean = 0.0
    for step, batch in enumerate(islice(batches, steps)):
        rate = LOWEST * (HIGHEST / LOWEST) ** (step / (steps - 1))
        indices, factor = share(batch, hardware.process, hardware.processes)
        part = Share(hardware.to_device(train.batch(indices)), factor)
        try:
            totals, _ = updater.update([part], lambda passed, rate=rate: rate, "in lr_find")
        except TrainingError:
            if not rates:
                raise
            break
        loss = totals.averages()["loss"]
        mean = SMOOTHING * mean + (1 - SMOOTHING) * loss
        # As if the past had begun with the first loss: Adam's correction of the mean.
        smoothed = mean / (1 - SMOOTHING ** (step + 1))
        rates.append(rate)
        losses.append(smoothed)
        lowest = min(losses)
        if smoothed > lowest + (DIVERGED - 1) * abs(lowest):
            break
    return rates, losses


def _steepest(rates: list[float], losses: list[float]) -> float:
    end = int(numpy.argmin(losses)) + 1
    if end < 3:
        raise TrainingError(
            "the loss falls at no learning rate: check the data and the loss, or give more steps"
        )
    slopes = numpy.gradient(losses[:end], [math.log(rate) for rate in rates[:end]])
    return rates[int(numpy.argmin(slopes))]
