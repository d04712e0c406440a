"""Classification: the loss that a network is trained with, and the figures it is measured by."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from sklearn import metrics
from torch import Tensor, nn
from torch.nn import functional as F

from fastlstm.training import Loss, Metric, RunningSums, Sum, finest


class LabelledBatch(NamedTuple):
    """Some examples with the class of each."""

    inputs: Tensor  # (B, T, F), or (B, T) ids
    lengths: Tensor | None  # (B); None: every step is real
    ids: dict[str, Tensor]  # (B) for each target


class Inputs(Protocol):
    """What a network reads, without labels."""

    def __len__(self) -> int: ...

    @property
    def lengths(self) -> np.ndarray:
        """The steps of each (N)."""
        ...

    def batch(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Some of them, padded, and their lengths."""
        ...


def lengths_of_padded(inputs: Tensor, lengths: Tensor) -> Tensor | None:
    """The lengths of a batch; None where no row has padding, which is computed faster."""
    return None if bool((lengths == inputs.shape[1]).all()) else lengths


class LabelledExamples:
    """Inputs and their classes, some of them or all, as the training loop takes them.

    Args:
        inputs: all there are.
        ids: the class of each (N), for each target.
        indices: which of them; None: all.
    """

    def __init__(
        self, inputs: Inputs, ids: Mapping[str, np.ndarray], indices: np.ndarray | None = None
    ) -> None:
        self.inputs = inputs
        self.ids = dict(ids)
        self.indices = np.arange(len(inputs)) if indices is None else indices
        self.lengths = inputs.lengths[self.indices]

    def __len__(self) -> int:
        return len(self.indices)

    def batch(self, indices: Sequence[int]) -> LabelledBatch:
        """Some of the examples."""
        chosen = self.indices[np.asarray(indices)]
        inputs, lengths = self.inputs.batch(chosen.tolist())
        ids = {
            name: torch.from_numpy(of_all[chosen].astype(np.int64))
            for name, of_all in self.ids.items()
        }
        return LabelledBatch(inputs, lengths_of_padded(inputs, lengths), ids)


class ClassificationObjective:
    """Cross-entropy of each target, added up by their weights.

    Args:
        network: from a batch's inputs and lengths to the logits (B, K) of each target.
        class_weights: (K) of each target that has some.
        target_weights: what each target's loss counts.
    """

    def __init__(
        self,
        network: nn.Module,
        class_weights: Mapping[str, np.ndarray],
        target_weights: Mapping[str, float],
    ) -> None:
        self.network = network
        self.class_weights = {name: torch.from_numpy(w) for name, w in class_weights.items()}
        self.target_weights = dict(target_weights)
        # What decides which epoch is best counts a class as the loss does.
        name = "weighted_accuracy" if class_weights else "accuracy"
        self.metric = Metric(name, higher_is_better=True)

    def loss(self, batch: LabelledBatch, state: Any) -> Loss:
        """The sum over the examples, and how many are named rightly."""
        logits = self.network(batch.inputs, batch.lengths)
        total = torch.zeros((), device=batch.inputs.device)
        for name, ids in batch.ids.items():
            weights = class_weights_on(ids.device, self.class_weights, name)
            of_classes = None if weights is None else weights.to(logits[name])
            losses = F.cross_entropy(logits[name].float(), ids, of_classes, reduction="sum")
            total = total + self.target_weights[name] * losses
        sums = {"accuracy": _right_share(logits, batch.ids).detach()}
        return Loss(total, float(len(batch.inputs)), sums)

    def evaluate(self, batches: Iterable[LabelledBatch]) -> dict[str, Sum]:
        """Accuracy, with class weights too, and cross-entropy; of several targets the mean."""
        sums, count = RunningSums("right", "weighted", "weight", "loss"), 0
        for batch in batches:
            logits = self.network(batch.inputs, batch.lengths)
            sums.add("right", _right_share(logits, batch.ids))
            for name, ids in batch.ids.items():
                of_examples = self._weights_of(name, ids)
                right = logits[name].argmax(-1) == ids
                sums.add("weighted", (of_examples * right).sum())
                sums.add("weight", of_examples.sum())
            losses = [
                F.cross_entropy(logits[name].float(), ids, reduction="sum")
                for name, ids in batch.ids.items()
            ]
            sums.add("loss", torch.stack(losses).mean())
            count += len(batch.inputs)
        read = sums.read()
        found = {"accuracy": Sum(read["right"], count), "loss": Sum(read["loss"], count)}
        if self.class_weights:
            found["weighted_accuracy"] = Sum(read["weighted"], read["weight"])
        return found

    def _weights_of(self, name: str, ids: Tensor) -> Tensor:
        """What each example counts (B)."""
        weights = class_weights_on(ids.device, self.class_weights, name)
        if weights is None:
            return torch.ones(len(ids), device=ids.device)
        return weights[ids]


def class_weights_on(device: torch.device, weights: dict[str, Tensor], name: str) -> Tensor | None:
    """The class weights of a target, or None; they move to the device, and stay there."""
    found = weights.get(name)
    if found is not None and found.device != device:
        # Copied for every batch, they would make the host wait for a GPU every time.
        found = weights[name] = found.to(device)
    return found


def _right_share(logits: Mapping[str, Tensor], ids: Mapping[str, Tensor]) -> Tensor:
    """How many examples are named rightly; of several targets the mean."""
    right = [(logits[name].argmax(-1) == truth).sum() for name, truth in ids.items()]
    shares = torch.stack(right)
    return shares.to(finest(shares.device)).mean()


def figures(truth: np.ndarray, probabilities: np.ndarray, most_frequent: int) -> dict[str, float]:
    """The field's measures of one target.

    Args:
        truth: (N) classes.
        probabilities: (N, K).
        most_frequent: the class that was the most frequent in training: the baseline's only answer.
    """
    predicted = probabilities.argmax(axis=1)
    known = np.arange(probabilities.shape[1])
    chosen = probabilities[np.arange(len(truth)), truth]
    return {
        "accuracy": float((predicted == truth).mean()),
        "balanced_accuracy": float(_recalls(truth, predicted).mean()),
        "macro_f1": float(
            metrics.f1_score(
                truth,
                predicted,
                labels=known[np.isin(known, np.concatenate((truth, predicted)))],
                average="macro",
                zero_division=0.0,  # type: ignore[arg-type]
            )
        ),
        "log_loss": float(-np.log(np.maximum(chosen, math.exp(-50))).mean()),
        "baseline_accuracy": float((truth == most_frequent).mean()),
    }


def _recalls(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    return np.array([(predicted[truth == one] == one).mean() for one in np.unique(truth)])
