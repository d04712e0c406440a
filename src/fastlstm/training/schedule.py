"""The learning rate over a training."""

from __future__ import annotations

import math

from fastlstm.training.settings import TrainingConfig

ONE_CYCLE_WARM_UP = 0.15


def learning_rate(config: TrainingConfig, share: float, plateau: float) -> float:
    """The learning rate when a share of the training has passed.

    `one_cycle` is the first policy of Smith 2018 (arXiv:1803.09820), with the descent of Loshchilov
    & Hutter 2017 (arXiv:1608.03983), which `cosine` has alone.

    Args:
        config: the training's settings.
        share: of all batches of all epochs, from 0 to 1.
        plateau: by what `plateau` has lowered the rate so far; 1 for the other schedules.
    """
    warm_up = config.warm_up
    if warm_up is None:
        warm_up = ONE_CYCLE_WARM_UP if config.schedule == "one_cycle" else 0.0
    if share < warm_up:
        return config.learning_rate * share / warm_up
    if config.schedule in ("one_cycle", "cosine"):
        fallen = (share - warm_up) / (1 - warm_up)
        return config.learning_rate * 0.5 * (1 + math.cos(math.pi * fallen))
    return config.learning_rate * plateau
