"""A layer sees its weights as they are, however they were changed since its last call."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn.utils import parametrize

import fastlstm

T, B, I, H = 4, 3, 5, 7  # noqa: E741


class Doubled(torch.nn.Module):
    """Twice the parameter below."""

    def forward(self, weight: Tensor) -> Tensor:
        """Return twice the weight."""
        return 2 * weight


def step_of_an_optimizer(layer: fastlstm.LSTM) -> None:
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.5)
    layer(torch.ones(T, B, I))[0].sum().backward()
    optimizer.step()
    layer.zero_grad()


def fused_step(layer: fastlstm.LSTM) -> None:
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.5, fused=True)
    layer(torch.ones(T, B, I))[0].sum().backward()
    optimizer.step()
    layer.zero_grad()


def load(layer: fastlstm.LSTM) -> None:
    layer.load_state_dict(fastlstm.LSTM(I, H).state_dict())


def load_assigning(layer: fastlstm.LSTM) -> None:
    layer.load_state_dict(fastlstm.LSTM(I, H).state_dict(), assign=True)


def write_to_data(layer: fastlstm.LSTM) -> None:
    layer.weight_hh_l0.data.mul_(2)  # the parameter's version stays the same
    layer.weight_ih_l0.data[0, 0] = 3.0


def replace_data(layer: fastlstm.LSTM) -> None:
    layer.weight_hh_l0.data = 2 * layer.weight_hh_l0.data


def write_through_numpy(layer: fastlstm.LSTM) -> None:
    layer.weight_hh_l0.detach().numpy()[1, 2] += 1.0


def add_a_parametrization(layer: fastlstm.LSTM) -> None:
    parametrize.register_parametrization(layer, "weight_hh_l0", Doubled())


def change_below_a_parametrization(layer: fastlstm.LSTM) -> None:
    add_a_parametrization(layer)
    layer(torch.ones(T, B, I))
    layer.parametrizations.weight_hh_l0.original.data.add_(1)


CHANGES: list[Callable[[fastlstm.LSTM], None]] = [
    step_of_an_optimizer,
    fused_step,
    load,
    load_assigning,
    write_to_data,
    replace_data,
    write_through_numpy,
    add_a_parametrization,
    change_below_a_parametrization,
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
@pytest.mark.parametrize("training", [False, True])
def test_changed_weights_are_seen(change: Callable[[fastlstm.LSTM], None], training: bool) -> None:
    layer = fastlstm.LSTM(I, H)
    x = torch.randn(T, B, I)
    with torch.set_grad_enabled(training):
        before = layer(x)[0].detach().clone()
    with torch.enable_grad():
        change(layer)
    with torch.set_grad_enabled(training):
        after = layer(x)[0].detach()
    assert not torch.allclose(before, after)
    with fastlstm.backend("reference"):
        torch.testing.assert_close(after, copy.deepcopy(layer)(x)[0].detach())
