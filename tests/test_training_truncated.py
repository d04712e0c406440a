"""Truncated back-propagation: what is cut, what is carried on."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

import fastlstm
from fastlstm.training import Loss, Metric, Sum, TrainingError, fit
from fastlstm.training.batches import training_batches
from fastlstm.training.schedule import learning_rate
from training_cases import make_clouds, make_config, make_objective


class Text(NamedTuple):
    inputs: Tensor  # (B, T, 3)
    targets: Tensor


class Follow:
    """Predicts a running sum, so that the state matters; cut into stretches."""

    metric = Metric("mse", higher_is_better=False)

    def __init__(self) -> None:
        torch.manual_seed(2)
        self.network = fastlstm.LSTM(3, 4, batch_first=True, dtype=torch.float64)
        self.states: list[object] = []

    def loss(self, batch: Text, state: object) -> Loss:
        self.states.append(state)
        output, state = self.network(batch.inputs, state)
        error = output.sum(dim=2) - batch.targets
        return Loss(error.square().sum(), error.numel(), state=state)

    def evaluate(self, batches: Iterable[Text]) -> Mapping[str, Sum]:
        losses = [self.loss(batch, None) for batch in batches]
        total = sum(float(loss.total) for loss in losses)
        return {"mse": Sum(total, sum(loss.weight for loss in losses))}

    def stretches(self, batch: Text, steps: int) -> list[Text]:
        pieces = zip(batch.inputs.split(steps, 1), batch.targets.split(steps, 1), strict=True)
        return [Text(*piece) for piece in pieces]


class Streams:
    lengths = None

    def __len__(self) -> int:
        return 4

    def batch(self, indices: list[int]) -> Text:
        generator = torch.Generator().manual_seed(0)
        inputs = torch.randn(4, 11, 3, dtype=torch.float64, generator=generator)[indices]
        return Text(inputs, inputs.sum(dim=2).cumsum(dim=1))


def test_truncated_back_propagation_carries_the_detached_state() -> None:
    config = make_config(epochs=1, batch_size=4, truncate_steps=5, weight_decay=0.0)
    objective = Follow()
    history = fit(objective, Streams(), None, config)
    assert history.records[0]["updates"] == 3
    assert objective.states[0] is None
    assert not any(tensor.requires_grad for tensor in objective.states[1])  # type: ignore[attr-defined]

    plain = Follow()
    optimizer = torch.optim.AdamW(plain.network.parameters(), betas=config.betas, weight_decay=0.0)
    state, order = None, training_batches(4, 4, config.seed, 1, None)[0]
    for step, part in enumerate(plain.stretches(Streams().batch(order), 5)):
        loss = plain.loss(part, state)
        state = tuple(tensor.detach() for tensor in loss.state)
        optimizer.zero_grad()
        (loss.total / loss.weight).backward()
        nn.utils.clip_grad_norm_(plain.network.parameters(), 1.0)
        optimizer.param_groups[0]["lr"] = learning_rate(config, (step + 0.5) / 3, 1.0)
        optimizer.step()
    for name, value in plain.network.state_dict().items():
        torch.testing.assert_close(
            objective.network.state_dict()[name], value, rtol=1e-9, atol=1e-12
        )


def test_truncation_and_accumulation_together_are_as_larger_batches() -> None:
    weights = []
    for changes in ({"batch_size": 4}, {"batch_size": 2, "accumulate": 2}):
        objective = Follow()
        fit(objective, Streams(), None, make_config(truncate_steps=4, **changes))
        weights.append(objective.network.state_dict())
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, rtol=1e-9, atol=1e-12)


def test_truncation_needs_stretches() -> None:
    with pytest.raises(TrainingError) as error:
        fit(make_objective(), make_clouds(20), None, make_config(truncate_steps=5))
    assert str(error.value) == (
        "truncate_steps is 5, and Classify cannot cut a batch: expected it to have "
        "stretches(batch, steps), or truncate_steps none"
    )
