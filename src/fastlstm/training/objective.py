"""What the loop needs to know of a task: its network, its loss and how it is measured."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

from torch import Tensor, nn


class Loss(NamedTuple):
    """The loss of one batch, as sums, so that batches and processes add up exactly.

    Attributes:
        total: scalar, differentiable: the SUM of the loss over the units of the batch.
        weight: how many units these are (examples, tokens, frames, …), or the sum of their weights.
            A number that the device computes is best left a tensor, as all of them are read at
            once when the device has been given the rest of its work.
        sums: further sums over the batch, such as the count of right answers; shown as averages,
            divided by `weight`. The same names for every batch.
        state: the recurrent state after the batch, for the next stretch of it: tensors in tuples,
            lists or dicts; None where nothing is carried.
    """

    total: Tensor
    weight: float | Tensor
    sums: Mapping[str, float | Tensor] = {}
    state: Any = None


class Sum(NamedTuple):
    """A figure that is `total / count`, such as 960 right answers of 1,000."""

    total: float
    # It hides tuple.count, which nobody needs here.
    count: float  # pyright: ignore[reportIncompatibleMethodOverride]

    @property
    def mean(self) -> float:
        """The quotient; NaN where nothing was counted."""
        return self.total / self.count if self.count else math.nan


class Metric(NamedTuple):
    """The figure that decides which epoch is best: a name of `evaluate`, or of `figures`."""

    name: str
    higher_is_better: bool


class Objective(Protocol):
    """A network and what it is trained for.

    What `loss` and `evaluate` compute with must be on the network's device: tensors besides the
    batch belong in the network's buffers.
    """

    @property
    def network(self) -> nn.Module:
        """The network; the loop moves it to the device and trains its parameters."""
        ...

    @property
    def metric(self) -> Metric:
        """Which of the figures of `evaluate` decides."""
        ...

    def loss(self, batch: Any, state: Any) -> Loss:
        """The loss of a batch, or of a stretch of it.

        Args:
            batch: from `Examples.batch`, or from `stretches`, on the network's device.
            state: None at the beginning of a batch; then `Loss.state` of the stretch before,
                detached.
        """
        ...

    def evaluate(self, batches: Iterable[Any]) -> Mapping[str, Sum]:
        """Measure the network on batches; called in evaluation mode and without gradients.

        The names must not depend on the batches, as processes add theirs up by name.
        """
        ...


@runtime_checkable
class Derived(Protocol):
    """What an objective needs besides where a figure is no quotient of two sums.

    Such as macro F1: each class's F1 is `2 hits / (predicted + actual)`, and the figure their mean.
    """

    def figures(self, sums: Mapping[str, Sum]) -> Mapping[str, float]:
        """The figures by name, in place of each sum's quotient.

        Args:
            sums: those of `evaluate`, added up over all batches and processes.
        """
        ...


@runtime_checkable
class Stretched(Protocol):
    """What an objective needs besides for truncated back-propagation."""

    def stretches(self, batch: Any, steps: int) -> Sequence[Any]:
        """Cut a batch into parts of at most `steps` time steps each, the first first."""
        ...
