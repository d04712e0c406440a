"""How autocast casts the weights that cuDNN gets, on a stand-in for cuDNN's operators."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad

import cudnn_operators as operators
import fastlstm
from cudnn_operators import KINDS


@pytest.fixture(autouse=True)
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Have the CPU look like a GPU with cuDNN."""
    with fastlstm.backend("cudnn"):
        yield operators.pretend(monkeypatch)


def under_autocast(layer: fastlstm.LSTM, x: Tensor, order: int) -> list[Tensor]:
    """Output, c_n and gradients in bfloat16."""
    wanted = [x, *(value for value in layer.parameters() if value.requires_grad)]
    with torch.autocast("cpu", torch.bfloat16):
        output, (_, c_n) = layer(x)
        assert output.dtype == torch.bfloat16
        loss = output.float().sin().sum() + (c_n.float() * 0.3).exp().sum()
    slopes = torch.autograd.grad(loss, wanted, create_graph=order == 2)
    if order == 2:
        loss = sum((slope**2).sum() for slope in slopes)
        slopes = (*slopes, *torch.autograd.grad(loss, wanted))
    return [output, c_n, *slopes]


@pytest.mark.filterwarnings("ignore:LSTM with projections")
@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("options", KINDS, ids=str)
def test_autocast_copies_all_at_once(options: dict[str, Any], order: int) -> None:
    layer = fastlstm.LSTM(3, 5, **options)
    layer.weight_ih_l0.requires_grad_(False)
    one_by_one, x = copy.deepcopy(layer), torch.randn(4, 2, 3, requires_grad=True)
    expected = under_autocast(one_by_one, x, order)
    operators.flattened.clear()
    found = under_autocast(layer, x, order)
    copied = [len(list(layer.parameters()))] if options.get("bias") is False else []
    assert operators.flattened == copied
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    assert [value.dtype for value in found] == [value.dtype for value in expected]
    for mode in (torch.no_grad, torch.inference_mode):
        with mode(), torch.autocast("cpu", torch.bfloat16):
            torch.testing.assert_close(layer(x)[0], expected[0], rtol=0, atol=0)
    assert operators.flattened == 3 * copied


def test_autocast_of_weights_that_lie_as_others_do() -> None:
    layer, x = fastlstm.LSTM(3, 5), torch.randn(4, 2, 3)
    other = copy.deepcopy(layer)
    for each in (layer, other):
        with torch.no_grad():
            for value in (each.weight_ih_l0, each.weight_hh_l0):
                value.data = value.data.reshape(-1).view(*reversed(value.shape)).T
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(layer(x), other(x), rtol=0, atol=0)


def test_autocast_leaves_a_refusal_as_it_is() -> None:
    layer = fastlstm.LSTM(3, 5, peephole=True)
    with (
        torch.autocast("cpu", torch.bfloat16),
        pytest.raises(RuntimeError, match=r"it does not know weight_peephole$"),
    ):
        layer(torch.zeros(4, 2, 3))


def test_autocast_leaves_float64_as_it_is() -> None:
    layer, x = fastlstm.LSTM(3, 5).double(), torch.randn(4, 2, 3, dtype=torch.float64)
    expected = layer(x)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(layer(x), expected, rtol=0, atol=0)


def test_autocast_in_forward_mode() -> None:
    layer, x = fastlstm.LSTM(3, 5), torch.zeros(4, 2, 3)
    with forward_ad.dual_level(), torch.autocast("cpu", torch.bfloat16):
        dual = {
            name: forward_ad.make_dual(value, torch.ones_like(value))
            for name, value in layer.named_parameters()
        }
        with pytest.raises(RuntimeError, match="a transform"):
            torch.func.functional_call(layer, dual, (x,))


def test_autocast_under_a_transform() -> None:
    layer, x = fastlstm.LSTM(3, 5), torch.zeros(4, 2, 3)
    parameters = {name: value.detach() for name, value in layer.named_parameters()}

    def loss(given: dict[str, Tensor]) -> Tensor:
        return torch.func.functional_call(layer, given, (x,))[0].float().sum()

    layer(x)
    with torch.autocast("cpu", torch.bfloat16), pytest.raises(RuntimeError, match="a transform"):
        torch.func.grad(loss)(parameters)
