"""A tiny objective and its data, shared by the tests of the loop."""

import multiprocessing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import fastlstm
from fastlstm.training import Loss, Metric, Sum, TrainingConfig

# A process that has imported everything and trained nothing; each process of a test is its fork.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["fastlstm.training", "torch._dynamo"])


class Batch(NamedTuple):
    inputs: Tensor  # (B, T, 3)
    labels: Tensor  # (B,)
    lengths: Tensor  # (B,)


class Network(nn.Module):
    """Class scores of the last step; a running mean of the input as a buffer."""

    def __init__(self, dtype: torch.dtype = torch.float32, dropout: float = 0.0) -> None:
        super().__init__()
        self.lstm = fastlstm.LSTM(3, 5, batch_first=True, dtype=dtype)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(5, 2, dtype=dtype)
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def forward(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        if self.training:
            self.seen += 1
        output, _ = self.lstm(inputs, lengths=lengths)
        last = output[torch.arange(len(inputs)), lengths - 1]
        return self.head(self.dropout(last))


@dataclass
class Clouds:
    """Sequences whose class is in the sign of their mean."""

    inputs: Tensor  # (N, T, 3)
    labels: Tensor
    sizes: list[int] | None

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def lengths(self) -> Sequence[int] | None:
        return self.sizes

    def batch(self, indices: Sequence[int]) -> Batch:
        chosen = torch.tensor(indices)
        lengths = torch.full((len(indices),), self.inputs.shape[1])
        if self.sizes is not None:
            lengths = torch.tensor([self.sizes[index] for index in indices])
        steps = int(lengths.max())
        return Batch(self.inputs[chosen, :steps], self.labels[chosen], lengths)


def make_clouds(
    count: int, seed: int = 0, dtype: torch.dtype = torch.float32, ragged: bool = True
) -> Clouds:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 2
    inputs = torch.randn(count, 7, 3, generator=generator, dtype=dtype)
    inputs += (labels * 2.0 - 1.0)[:, None, None]
    sizes = torch.randint(1, 8, (count,), generator=generator).tolist() if ragged else None
    return Clouds(inputs, labels, sizes)


class Classify:
    """Cross-entropy, with the accuracy as the deciding figure."""

    metric = Metric("accuracy", higher_is_better=True)

    def __init__(self, network: nn.Module) -> None:
        self.network = network

    def loss(self, batch: Batch, state: object) -> Loss:
        logits = self.network(batch.inputs, batch.lengths)
        right = (logits.argmax(dim=1) == batch.labels).sum()
        total = cross_entropy(logits, batch.labels, reduction="sum")
        return Loss(total, len(batch.labels), {"accuracy": right})

    def evaluate(self, batches: Iterable[Batch]) -> Mapping[str, Sum]:
        right, loss, count = 0, 0.0, 0
        for batch in batches:
            logits = self.network(batch.inputs, batch.lengths)
            right += int((logits.argmax(dim=1) == batch.labels).sum())
            loss += float(cross_entropy(logits, batch.labels, reduction="sum"))
            count += len(batch.labels)
        return {"accuracy": Sum(right, count), "loss": Sum(loss, count)}


def make_objective(dtype: torch.dtype = torch.float32, dropout: float = 0.0) -> Classify:
    torch.manual_seed(1)
    return Classify(Network(dtype, dropout))


def make_config(**changes: object) -> TrainingConfig:
    settings: dict = {
        "epochs": 3,
        "batch_size": 10,
        "learning_rate": 0.02,
        "threads": 1,
        "device": "cpu",
        "seed": 5,
        **changes,
    }
    return TrainingConfig(**settings)


def weights_of(objective: Classify) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in objective.network.state_dict().items()}


def assert_same_weights(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    different = [name for name in one if not torch.equal(one[name], other[name])]
    assert not different
