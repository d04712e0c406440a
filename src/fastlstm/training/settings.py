"""The settings of a training."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from fastlstm.config import ConfigError

Schedule = Literal["one_cycle", "cosine", "plateau", "constant"]
Precision = Literal["float32", "bfloat16", "float16"]
Device = Literal["auto", "cpu", "cuda", "mps"]

UPDATES = 2_500
FEWEST_EPOCHS = 10
MOST_EPOCHS = 100

_COUNTS = (
    "epochs",
    "batch_size",
    "plateau_epochs",
    "accumulate",
    "patience",
    "threads",
    "truncate_steps",
)


@dataclass(frozen=True)
class TrainingConfig:
    """How a network is trained; the defaults suit LSTMs.

    Args:
        epochs: passes over the training examples, at most; None: as many as make about `UPDATES`
            updates, but `FEWEST_EPOCHS` at least and `MOST_EPOCHS` at most.
        batch_size: examples in a batch, over all processes together.
        learning_rate: the highest of the schedule.
        weight_decay: of AdamW, on matrices only: biases, gains and peepholes keep their scale.
        betas: of AdamW: decay rates of the mean of the gradient and of its square.
        schedule: `one_cycle` rises, then falls to zero along a half cosine; `cosine` falls so from
            the start; `plateau` falls by `plateau_factor` whenever the metric stands still;
            `constant` stays.
        warm_up: share of the training in which the learning rate rises, from 0 to less than 1;
            None: 0.15 for `one_cycle`, else 0.
        plateau_epochs: epochs without a better metric before `plateau` lowers the rate.
        plateau_factor: what it multiplies the rate by.
        max_gradient_norm: longer gradients are scaled down to this norm; None: never.
        accumulate: batches that make one update.
        precision: of the matrix products; the weights stay as they are. `float16` needs a GPU.
        patience: stop after so many epochs without a better metric; None: never.
        seed: of the shuffling and of everything random in the network.
        threads: CPU threads; None: as torch has it.
        device: where to train; `auto`: on a GPU where there is one.
        truncate_steps: back-propagate through so many time steps at most, and carry the state on;
            None: through all.
        bucket: put examples of similar lengths in a batch, which saves padding.
        checkpoint_seconds: at most so much work is lost when a run is killed; 0: save each update.
        trackers: where metrics go besides `metrics.jsonl`: `tensorboard`, or another tracker of
            Accelerate that is installed.

    Raises:
        ConfigError: a value is out of its range.
    """

    epochs: int | None = 10
    batch_size: int = 32
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.99)
    schedule: Schedule = "one_cycle"
    warm_up: float | None = None
    plateau_epochs: int = 3
    plateau_factor: float = 0.3
    max_gradient_norm: float | None = 1.0
    accumulate: int = 1
    precision: Precision = "float32"
    patience: int | None = None
    seed: int = 0
    threads: int | None = None
    device: Device = "auto"
    truncate_steps: int | None = None
    bucket: bool = True
    checkpoint_seconds: float = 60.0
    trackers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in _COUNTS:
            value = getattr(self, name)
            _require(value is None or value >= 1, name, value, "at least 1")
        for name in ("learning_rate", "max_gradient_norm"):
            value = getattr(self, name)
            good = value is None or 0 < value < math.inf
            _require(good, name, value, "more than 0")
        for name in ("weight_decay", "checkpoint_seconds"):
            value = getattr(self, name)
            _require(0 <= value < math.inf, name, value, "0 or more")
        good_betas = len(self.betas) == 2 and all(0 <= beta < 1 for beta in self.betas)
        _require(good_betas, "betas", self.betas, "two numbers from 0 to less than 1")
        good_warm_up = self.warm_up is None or 0 <= self.warm_up < 1
        _require(good_warm_up, "warm_up", self.warm_up, "from 0 to less than 1")
        good_factor = 0 < self.plateau_factor < 1
        _require(good_factor, "plateau_factor", self.plateau_factor, "between 0 and 1")
        _require(0 <= self.seed < 2**32, "seed", self.seed, "from 0 to less than 2^32")


def choose_epochs(config: TrainingConfig, batches: int, fewest_updates: int = 0) -> int:
    """The epochs of a training whose epochs have so many batches.

    Args:
        config: the settings; its own epochs come first.
        batches: of an epoch.
        fewest_updates: for which there may be more than `MOST_EPOCHS`.
    """
    if config.epochs is not None:
        return config.epochs
    updates = -(-batches // config.accumulate)
    most = max(MOST_EPOCHS, -(-fewest_updates // updates))
    return min(max(round(UPDATES / updates), FEWEST_EPOCHS), most)


def _require(good: bool, name: str, value: object, expected: str) -> None:
    if not good:
        raise ConfigError(f"{name} is {value}: expected {expected}")
