"""A small loop that trains a classifier and measures it."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import TensorDataset

from fastlstm.training.errors import TrainingError

WARM_UP_SHARE = 0.15
ADAM_BETAS = (0.9, 0.99)
WEIGHT_DECAY = 0.1
MAX_GRADIENT_NORM = 1.0
# Larger than a training batch, as no gradients are kept; constant, as the count must not depend
# on the settings of a run.
EVALUATION_BATCH = 1_000


@dataclass(frozen=True)
class EpochMetrics:
    """One pass over the training part.

    Loss (mean cross-entropy, nats) and training accuracy are those of each batch before its update;
    accuracies are shares from 0 to 1; `seconds` is wall-clock time, validation included.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    validation_accuracy: float
    seconds: float


@dataclass(frozen=True)
class RunningMetrics:
    """Where a training stands in the middle of an epoch: means over the epoch so far."""

    epoch: int
    examples: int
    loss: float
    accuracy: float


def train_epochs(
    model: nn.Module,
    train: TensorDataset,
    validation: TensorDataset,
    *,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    seed: int,
    on_batch: Callable[[RunningMetrics], None],
) -> Iterator[EpochMetrics]:
    """Train `model` in place, and yield after each epoch.

    AdamW with clipped gradients; the learning rate rises to `learning_rate` over the first 15 % of
    the steps and falls to zero along a half cosine.

    Args:
        model: maps inputs `(B, ...)` to logits `(B, classes)`.
        train: inputs `(N, ...)` and labels `(N,)`, int64; shuffled anew each epoch.
        validation: the same form; measured after each epoch and used for nothing else.
        epochs: passes over the training part.
        batch_size: examples in an update; the last of an epoch may have fewer.
        learning_rate: the peak of the schedule.
        seed: of the shuffling. The global random state is not touched.
        on_batch: called after each update.

    Raises:
        TrainingError: the loss is no longer finite.
    """
    inputs, labels = train.tensors
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=learning_rate, betas=ADAM_BETAS, weight_decay=WEIGHT_DECAY
    )
    total_steps = epochs * math.ceil(len(labels) / batch_size)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: learning_rate_factor(step, total_steps)
    )
    shuffling = torch.Generator().manual_seed(seed)

    for epoch in range(1, epochs + 1):
        start = time.perf_counter()
        model.train()
        examples, loss_sum, correct = 0, 0.0, 0
        for batch in torch.randperm(len(labels), generator=shuffling).split(batch_size):
            logits = model(inputs[batch])
            loss = cross_entropy(logits, labels[batch])
            loss_value = loss.item()
            if not math.isfinite(loss_value):
                raise TrainingError(
                    f"the loss became {loss_value} in epoch {epoch}: try a learning rate below "
                    f"{learning_rate:g}"
                )
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), MAX_GRADIENT_NORM)
            optimizer.step()
            schedule.step()

            examples += len(batch)
            loss_sum += loss_value * len(batch)
            correct += count_matches(logits, labels[batch])
            on_batch(RunningMetrics(epoch, examples, loss_sum / examples, correct / examples))

        validation_accuracy = count_correct(model, validation) / len(validation)
        seconds = time.perf_counter() - start
        yield EpochMetrics(
            epoch, loss_sum / examples, correct / examples, validation_accuracy, seconds
        )


def learning_rate_factor(step: int, total_steps: int) -> float:
    """The share of the peak learning rate at `step`, counted from 0."""
    warm_up = max(1, round(WARM_UP_SHARE * total_steps))
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 * (1 + math.cos(math.pi * (step + 1 - warm_up) / (total_steps + 1 - warm_up)))


@torch.no_grad()
def count_correct(model: nn.Module, examples: TensorDataset) -> int:
    """Count the examples whose highest logit is that of their label."""
    model.eval()
    inputs, labels = examples.tensors
    batches = zip(inputs.split(EVALUATION_BATCH), labels.split(EVALUATION_BATCH), strict=True)
    return sum(
        count_matches(model(some_inputs), some_labels) for some_inputs, some_labels in batches
    )


def count_matches(logits: torch.Tensor, labels: torch.Tensor) -> int:
    """Count the rows of `logits` `(B, classes)` whose highest entry is at `labels` `(B,)`."""
    return int((logits.argmax(dim=1) == labels).sum())
