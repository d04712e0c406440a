"""Tagging: the loss that a network is trained with, and the figures it is measured by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from fastlstm.models import NO_LABEL, Tagger
from fastlstm.models.padding import fill_padding
from fastlstm.tasks.classification import class_weights_on
from fastlstm.tasks.tagging_spans import SpanCounts, count_spans
from fastlstm.tasks.tagging_steps import Piece, Steps
from fastlstm.training import Loss, Metric, RunningSums, Sum

READ_AT_ONCE = 64
"""So many batches are measured before their answers are read, for which the host waits."""


class TaggedBatch(NamedTuple):
    """Some pieces of sequences with the class of each step."""

    inputs: Tensor  # as `StepBatch`
    lengths: Tensor  # (B)
    characters: Tensor | None
    ids: dict[str, Tensor]  # (B, T) for each target; -1 for a class that training never saw


class _Decoded(NamedTuple):
    """What was said of a batch, still on the device."""

    ids: dict[str, Tensor]  # (B, T) for each target
    said: dict[str, Tensor]  # (B, T) for each target
    lengths: Tensor  # (B)


class TaggedExamples:
    """Sequences and the classes of their steps, cut in pieces, as the training loop takes them.

    Args:
        steps: the sequences.
        ids: the class of each step, for each target.
        sizes: the number of classes of each target; what is above is none of them.
        pieces: the examples.
    """

    def __init__(
        self,
        steps: Steps,
        ids: Mapping[str, Sequence[np.ndarray]],
        sizes: Mapping[str, int],
        pieces: Sequence[Piece],
    ) -> None:
        self.steps = steps
        self.ids = {
            name: [np.where(row < sizes[name], row, NO_LABEL) for row in rows]
            for name, rows in ids.items()
        }
        self.pieces = list(pieces)
        self.lengths = [stop - start for _, start, stop in pieces]

    def __len__(self) -> int:
        return len(self.pieces)

    def batch(self, indices: Sequence[int]) -> TaggedBatch:
        """Some of the examples."""
        pieces = [self.pieces[index] for index in indices]
        inputs, lengths, characters = self.steps.batch(pieces)
        shape = inputs.shape[:2]
        ids = {name: torch.full(shape, NO_LABEL) for name in self.ids}
        for name, rows in self.ids.items():
            for row, (index, start, stop) in zip(ids[name].numpy(), pieces, strict=True):
                row[: stop - start] = rows[index][start:stop]
        return TaggedBatch(inputs, lengths, characters, ids)


class TaggingObjective:
    """Cross-entropy of each target's steps, or the likelihood of its chain, added up by weights.

    Args:
        network: what is trained.
        classes: those of each target.
        class_weights: (K) of each target that has some.
        target_weights: what each target's loss counts.
        spans: the targets whose labels are spans, such as `B-LOC I-LOC O`.
    """

    def __init__(
        self,
        network: Tagger,
        classes: Mapping[str, Sequence[Any]],
        class_weights: Mapping[str, np.ndarray],
        target_weights: Mapping[str, float],
        spans: Sequence[str] = (),
    ) -> None:
        self.network = network
        self.classes = dict(classes)
        self.class_weights = {name: torch.from_numpy(w) for name, w in class_weights.items()}
        self.target_weights = dict(target_weights)
        self.spans = tuple(spans)
        # What decides which epoch is best counts a class as the loss does.
        name = "macro_f1" if class_weights else "accuracy"
        name = "span_f1" if len(self.spans) == len(self.classes) else name
        self.metric = Metric(name, higher_is_better=True)

    def loss(self, batch: TaggedBatch, state: Any) -> Loss:
        """The sum over the steps, and how many are named rightly."""
        scores, state = self.network.advance(batch.inputs, batch.lengths, batch.characters, state)
        live = _live(batch)
        total = torch.zeros((), device=live.device)
        right = torch.zeros((), device=live.device)
        for name, ids in batch.ids.items():
            own = self._loss_of(name, scores[name], ids, batch.lengths, live)
            total = total + self.target_weights[name] * own
            right = right + ((scores[name].argmax(-1) == ids) & live).sum() / len(batch.ids)
        # With a CRF these are the steps' own best, which cost nothing; `evaluate` decodes.
        return Loss(total, live.sum(), {"accuracy": right.detach()}, state)

    def stretches(self, batch: TaggedBatch, steps: int) -> list[TaggedBatch]:
        """A batch in stretches of time."""
        cut = []
        length = batch.inputs.shape[1]
        for start in range(0, length, steps):
            stop = min(start + steps, length)
            characters = batch.characters
            cut.append(
                TaggedBatch(
                    batch.inputs[:, start:stop],
                    (batch.lengths - start).clamp(0, stop - start),
                    None if characters is None else characters[:, start:stop],
                    {name: ids[:, start:stop] for name, ids in batch.ids.items()},
                )
            )
        return cut

    def evaluate(self, batches: Iterable[TaggedBatch]) -> dict[str, Sum]:
        """What `figures` needs: losses, right steps, and the counts of classes and of spans."""
        losses = RunningSums(*self.classes)
        counts = {name: np.zeros((3, len(found))) for name, found in self.classes.items()}
        spans = {name: SpanCounts() for name in self.spans}
        unread: list[_Decoded] = []
        for batch in batches:
            scores = self.network(batch.inputs, batch.lengths, batch.characters)
            live = _live(batch)
            for name, ids in batch.ids.items():
                loss = self._loss_of(name, scores[name], ids, batch.lengths, live, weighted=False)
                losses.add(name, loss)
            said = self.network.decode(scores, batch.lengths)
            unread.append(_Decoded(batch.ids, said, batch.lengths))
            if len(unread) == READ_AT_ONCE:
                self._count(unread, counts, spans)
                unread.clear()
        self._count(unread, counts, spans)
        return self._sums(losses.read(), counts, spans)

    def _count(
        self,
        unread: Sequence[_Decoded],
        counts: Mapping[str, np.ndarray],
        spans: Mapping[str, SpanCounts],
    ) -> None:
        """Count the classes and spans of some batches in."""
        for decoded in unread:
            lengths = decoded.lengths.tolist()
            for name, classes in self.classes.items():
                ids, said = decoded.ids[name].cpu().numpy(), decoded.said[name].cpu().numpy()
                live = np.arange(ids.shape[1]) < np.array(lengths)[:, None]
                counts[name][:] += _class_counts(ids[live], said[live], len(classes))
                if name in spans:
                    spans[name].add(_count_spans(classes, ids, said, lengths))

    def figures(self, sums: Mapping[str, Sum]) -> dict[str, float]:
        """Accuracy, cross-entropy and, where it decides, F1; of several targets the mean.

        Macro F1 is the mean over the classes that appear, in truth or in what is said.
        """
        found: dict[str, list[float]] = {"accuracy": [], "loss": [], self.metric.name: []}
        for name, classes in self.classes.items():
            found["accuracy"].append(sums[f"{name} right"].mean)
            found["loss"].append(sums[f"{name} loss"].mean)
            if self.metric.name == "macro_f1":
                of_classes = [sums[f"{name} f1 {k}"] for k in range(len(classes))]
                found["macro_f1"].append(float(np.mean([f.mean for f in of_classes if f.count])))
            if self.metric.name == "span_f1":
                found["span_f1"].append(sums[f"{name} spans"].mean)
        means = {name: float(np.mean(values)) for name, values in found.items()}
        if len(self.classes) > 1:
            accuracies = zip(self.classes, found["accuracy"], strict=True)
            means |= {f"{name}_accuracy": value for name, value in accuracies}
        return means

    def _loss_of(
        self,
        name: str,
        scores: Tensor,
        ids: Tensor,
        lengths: Tensor,
        live: Tensor,
        weighted: bool = True,
    ) -> Tensor:
        scores = scores.float()
        if self.network.crf_of(name) is not None:
            # A chain with a class that the network does not know has no likelihood.
            known = ((ids >= 0) | ~live).all(1)
            of_rows = self.network.log_likelihood({name: scores}, {name: ids.clamp(min=0)}, lengths)
            return -_sum_of(of_rows[name], known)
        weights = class_weights_on(ids.device, self.class_weights, name) if weighted else None
        return F.cross_entropy(
            *_live_steps(scores, ids, live),
            None if weights is None else weights.to(scores),
            ignore_index=NO_LABEL,
            reduction="sum",
        )

    def _sums(
        self,
        losses: Mapping[str, float],
        counts: Mapping[str, np.ndarray],
        spans: Mapping[str, SpanCounts],
    ) -> dict[str, Sum]:
        sums = {}
        for name, (hits, said, true) in counts.items():
            steps = float(said.sum())  # at each of them one class is said
            sums[f"{name} loss"] = Sum(losses[name], steps)
            sums[f"{name} right"] = Sum(float(hits.sum()), steps)
            for k in range(len(hits)):
                sums[f"{name} f1 {k}"] = Sum(2 * float(hits[k]), float(said[k] + true[k]))
        for name, found in spans.items():
            sums[f"{name} spans"] = Sum(2.0 * found.hits, float(found.said + found.true))
        return sums


def _live(batch: TaggedBatch) -> Tensor:
    """(B, T) bool."""
    steps = torch.arange(batch.inputs.shape[1], device=batch.lengths.device)
    return steps < batch.lengths[:, None]


def _live_steps(scores: Tensor, ids: Tensor, live: Tensor) -> tuple[Tensor, Tensor]:
    """The scores (N, K) and classes (N) of the real steps; on a GPU of all, padding without one."""
    if _can_pick(live.device):
        return scores[live], ids[live]
    # Not the padding's own scores: times its gradient of zero, an infinity would be NaN.
    filled = fill_padding(scores, live)
    return filled.flatten(0, 1), fill_padding(ids, live, NO_LABEL).flatten()


def _sum_of(values: Tensor, chosen: Tensor) -> Tensor:
    """The sum of the values (N) that are chosen (N)."""
    if _can_pick(values.device):
        return values[chosen].sum()
    return torch.where(chosen, values, 0.0).sum()


def _can_pick(device: torch.device) -> bool:
    """Whether the host knows how many there are without waiting for the device."""
    return device.type == "cpu"


def _count_spans(
    classes: Sequence[Any], ids: np.ndarray, predicted: np.ndarray, lengths: Sequence[int]
) -> SpanCounts:
    counts = SpanCounts()
    for truth, said, length in zip(ids.tolist(), predicted.tolist(), lengths, strict=True):
        # -1 would be the last class: what training never saw is no span.
        labels = [classes[one] if one >= 0 else "O" for one in truth[:length]]
        counts.add(count_spans(labels, [classes[one] for one in said[:length]]))
    return counts


def _class_counts(truth: np.ndarray, said: np.ndarray, classes: int) -> np.ndarray:
    """For each class how often it was rightly said, said, and true: (3, K)."""
    found = (said[said == truth], said, truth[truth >= 0])
    return np.stack([np.bincount(one, minlength=classes) for one in found]).astype(float)
