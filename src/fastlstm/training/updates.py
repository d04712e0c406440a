"""One update of the weights: forward, backward, clipping and the optimizer's step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from fastlstm.training.errors import TrainingError
from fastlstm.training.examples import is_finite, map_tensors
from fastlstm.training.hardware import Hardware
from fastlstm.training.objective import Loss, Objective, Stretched
from fastlstm.training.settings import TrainingConfig


class Share(NamedTuple):
    """What one process computes of a batch: on the device, and the factor of its loss."""

    batch: Any
    factor: float


@dataclass
class Totals:
    """Sums over some batches, over all processes."""

    weight: float = 0.0
    loss: float = 0.0
    sums: dict[str, float] = field(default_factory=dict)

    def add(self, other: Totals) -> None:
        """Count another's batches in."""
        self.weight += other.weight
        self.loss += other.loss
        for name, value in other.sums.items():
            self.sums[name] = self.sums.get(name, 0.0) + value

    def averages(self) -> dict[str, float]:
        """The loss and the further sums, each by unit of weight."""
        weight = self.weight or math.nan
        return {
            "loss": self.loss / weight,
            **{name: value / weight for name, value in self.sums.items()},
        }


class Updater:
    """Trains the network of an objective, a few batches at a time.

    Args:
        objective: what is trained; its network is on the device.
        config: the training's settings.
        hardware: where it runs.

    Raises:
        TrainingError: nothing in the network can be trained, or the objective lacks `stretches`
            where `truncate_steps` asks for it.
    """

    def __init__(self, objective: Objective, config: TrainingConfig, hardware: Hardware) -> None:
        self._objective = objective
        self._config = config
        self._hardware = hardware
        self._parameters = [p for p in objective.network.parameters() if p.requires_grad]
        if not self._parameters:
            raise TrainingError("the network has no parameter to train")
        if config.truncate_steps is not None and not isinstance(objective, Stretched):
            raise TrainingError(
                f"truncate_steps is {config.truncate_steps}, and {type(objective).__name__} cannot "
                "cut a batch: expected it to have stretches(batch, steps), or truncate_steps none"
            )
        self.optimizer = make_optimizer(self._parameters, config)
        self._stepper = hardware.prepare(self.optimizer)

    def update(
        self, shares: Sequence[Share], rate_at: Callable[[float], float], place: str
    ) -> tuple[Totals, int]:
        """Train on batches as if they were one.

        Args:
            shares: this process's parts of the batches.
            rate_at: the learning rate where a share of these batches, 0 to 1, has passed.
            place: where the training stands, for messages.

        Returns:
            Their sums over all processes, and how many updates they made: one, or with truncation
            one for each stretch.

        Raises:
            TrainingError: the loss or the gradient is no longer finite. The weights are those
                before.
        """
        cut = [self._cut(share.batch) for share in shares]
        count = 1
        if self._config.truncate_steps is not None:
            # Rows differ in length, and so may the processes in the number of their stretches.
            count = self._hardware.largest(max(len(stretches) for stretches in cut))
        states: list[Any] = [None] * len(shares)
        totals = Totals()
        for index in range(count):
            unread = _Unread(self._hardware, totals.sums)
            self.optimizer.zero_grad()
            for which, (share, stretches) in enumerate(zip(shares, cut, strict=True)):
                if index < len(stretches):
                    loss = self._backward(stretches[index], states[which], share.factor)
                    states[which] = map_tensors(loss.state, Tensor.detach)
                    unread.add(loss, share.factor)
            numbers = unread.over_all_processes()
            total_norm = self._mean_gradient(numbers[0])
            # The one place where an update waits for the device: all of its numbers together.
            *values, norm = torch.cat((numbers, total_norm.to(numbers)[None])).tolist()
            part = unread.totals(values)
            rate = rate_at((index + 0.5) / count)
            if not math.isfinite(part.loss):
                raise self._not_finite(f"the loss became {part.loss}", shares, rate, place)
            if part.weight:
                if not math.isfinite(norm) and self._config.precision != "float16":
                    message = f"the norm of the gradient became {norm}"
                    raise self._not_finite(message, shares, rate, place)
                self._step(total_norm, rate)
            else:
                self._hardware.leave_out()
            totals.add(part)
        return totals, count

    def _cut(self, batch: Any) -> Sequence[Any]:
        steps = self._config.truncate_steps
        if steps is None or not isinstance(self._objective, Stretched):
            return [batch]
        return self._objective.stretches(batch, steps)

    def _backward(self, batch: Any, state: Any, factor: float) -> Loss:
        with self._hardware.autocast():
            loss = self._objective.loss(batch, state)
        self._hardware.backward(loss.total * factor)
        return loss

    def _mean_gradient(self, weight: Tensor) -> Tensor:
        """Make the mean of the gradients; returns its norm, which means nothing for weight 0."""
        self._hardware.add_up_gradients(self._parameters)
        self._hardware.unscale(self._stepper)
        gradients = [p.grad for p in self._parameters if p.grad is not None]
        for gradient in gradients:
            gradient.div_(weight)
        return get_total_norm(gradients)

    def _step(self, total_norm: Tensor, rate: float) -> None:
        """Step along the gradients, of this norm before clipping."""
        if self._config.max_gradient_norm is not None:
            used = [p for p in self._parameters if p.grad is not None]
            clip_grads_with_norm_(used, self._config.max_gradient_norm, total_norm)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self._stepper.step()

    def _not_finite(
        self, what: str, shares: Sequence[Share], rate: float, place: str
    ) -> TrainingError:
        if not all(is_finite(share.batch) for share in shares):
            return TrainingError(
                f"{what} {place}: the inputs of this batch hold NaN or infinity; clean the data"
            )
        ideas = [f"a learning_rate below {self._config.learning_rate:g} (here it was {rate:.3g})"]
        limit = self._config.max_gradient_norm
        clipping = "clipping (max_gradient_norm, now off)"
        ideas.append(clipping if limit is None else f"max_gradient_norm below {limit:g}")
        if self._config.precision != "float32":
            ideas.append(f"precision float32 in place of {self._config.precision}")
        return TrainingError(
            f"{what} {place}: the inputs of this batch are finite; try {', '.join(ideas)}"
        )


def make_optimizer(
    parameters: Sequence[nn.Parameter], config: TrainingConfig
) -> torch.optim.Optimizer:
    """AdamW (Loshchilov & Hutter 2019) whose weight decay spares what is no matrix."""
    matrices = [parameter for parameter in parameters if parameter.ndim >= 2]
    others = [parameter for parameter in parameters if parameter.ndim < 2]
    groups = [(matrices, config.weight_decay), (others, 0.0)]
    devices = {parameter.device.type for parameter in parameters}
    return torch.optim.AdamW(
        [{"params": group, "weight_decay": decay} for group, decay in groups if group],
        lr=config.learning_rate,
        betas=config.betas,
        # One pass over the memory of a large table of vectors in place of ten; and on a GPU no wait
        # for whether `float16` overflowed. Elsewhere torch knows better.
        fused=devices in ({"cpu"}, {"cuda"}) or None,
    )


class _Unread:
    """Sums over some batches that the device may still have to compute.

    Args:
        hardware: where they are.
        names: of further sums, which are there even where no batch is added.
    """

    def __init__(self, hardware: Hardware, names: Iterable[str]) -> None:
        self._hardware = hardware
        self._weight = self._loss = hardware.number(0.0)
        self._sums = {name: hardware.number(0.0) for name in names}

    def add(self, loss: Loss, factor: float) -> None:
        """Count a batch in."""
        number = self._hardware.number
        self._weight = self._weight + number(loss.weight) * factor
        self._loss = self._loss + number(loss.total) * factor
        for name, value in loss.sums.items():
            before = self._sums.get(name, 0.0)
            self._sums[name] = before + number(value) * factor

    def over_all_processes(self) -> Tensor:
        """All of them, `(N,)`: the weight, the loss, and the others by their names."""
        others = [self._sums[name] for name in sorted(self._sums)]
        return self._hardware.add_up_unread([self._weight, self._loss, *others])

    def totals(self, values: Sequence[float]) -> Totals:
        """What `over_all_processes` gave, once it is read."""
        weight, loss, *others = values
        return Totals(weight, loss, dict(zip(sorted(self._sums), others, strict=True)))
