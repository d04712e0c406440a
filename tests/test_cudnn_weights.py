"""Which calls of the back end "cudnn" copy the weights, on a stand-in for cuDNN's operators."""

import copy
import io
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.utils import parameters_to_vector, parametrize, vector_to_parameters

import cudnn_operators as operators
import fastlstm
from cudnn_operators import KINDS, both
from fastlstm.nn import cudnn_weights


@pytest.fixture(autouse=True)
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Have the CPU look like a GPU with cuDNN."""
    with fastlstm.backend("cudnn"):
        yield operators.pretend(monkeypatch)


def copied(layer: torch.nn.Module, expected: torch.nn.Module, x: Tensor) -> int:
    """How often a call copies weights; it has to return what PyTorch's layer with them does."""
    expected.load_state_dict(layer.state_dict())
    operators.flattened.clear()
    torch.testing.assert_close(layer(x), expected(x))
    return len(operators.flattened)


def places(layer: torch.nn.Module) -> list[int]:
    return [value.data_ptr() for value in layer.parameters()]


@pytest.mark.parametrize("options", KINDS, ids=str)
def test_nothing_is_copied(options: dict[str, Any]) -> None:
    layer, expected, x = both(**options)
    before = places(layer)
    for _ in range(2):
        assert copied(layer, expected, x) == 0
    for kind in (torch.optim.SGD, torch.optim.AdamW):
        optimizer = kind(layer.parameters(), lr=0.1)
        layer(x)[0].sum().backward()
        optimizer.step()
        assert copied(layer, expected, x) == 0
    with torch.no_grad():
        for value in layer.parameters():
            value.mul_(0.5)
            value.data.copy_(value + 0.25)  # changes no version
        assert copied(layer, expected, x) == 0
    layer.load_state_dict(torch.nn.LSTM(3, 5, **options).state_dict())
    with torch.inference_mode():
        assert copied(layer, expected, x) == 0
    assert places(layer) == before


@pytest.mark.parametrize("options", KINDS, ids=str)
def test_it_is_moved_and_cast_with_the_layer(options: dict[str, Any]) -> None:
    _, expected, x = both(**options)
    layer = fastlstm.LSTM(3, 5, **options).double()
    assert copied(layer, expected, x) == 0
    before = places(layer)
    layer.double().to("cpu").flatten_parameters()
    assert operators.flattened == []
    assert places(layer) == before
    layer = fastlstm.LSTM(3, 5, device="meta", dtype=torch.float64, **options)
    layer.to_empty(device="cpu").reset_parameters()
    assert copied(layer, expected, x) == 0


@pytest.mark.parametrize("options", KINDS, ids=str)
def test_another_tensor_for_one_of_the_weights(options: dict[str, Any]) -> None:
    layer, expected, x = both(**options)
    layer.weight_hh_l0.data = torch.randn(20, layer.proj_size or 5, dtype=torch.float64)
    before = places(layer)
    for _ in range(2):
        assert copied(layer, expected, x) == 1
    assert places(layer) == before
    layer.flatten_parameters()
    assert copied(layer, expected, x) == 0
    columns = torch.randn(layer.proj_size or 5, 20, dtype=torch.float64).T
    layer.weight_hh_l0 = torch.nn.Parameter(columns)
    assert copied(layer, expected, x) == 1
    state = {name: value + 1 for name, value in layer.state_dict().items()}
    layer.load_state_dict(state, assign=True)
    assert copied(layer, expected, x) == 1
    given = {name: value.detach() - 2 for name, value in state.items()}
    expected.load_state_dict(given)
    operators.flattened.clear()
    torch.testing.assert_close(torch.func.functional_call(layer, given, (x,)), expected(x))
    assert len(operators.flattened) == 1


def test_weights_in_another_order() -> None:
    layer, expected, x = both(num_layers=2)
    of_both = (layer.weight_hh_l0, layer.weight_hh_l1)
    of_both[0].data, of_both[1].data = of_both[1].data, of_both[0].data
    assert copied(layer, expected, x) == 1


@pytest.mark.parametrize("bias", [True, False])
def test_memory_that_somebody_else_moved(bias: bool) -> None:
    layer, expected, x = both(bias=bias)
    weights = [torch.nn.Parameter(value.detach().clone()) for value in layer.parameters()]
    packed, views = operators.in_order(weights, len(weights))
    if not bias:
        packed[-40:] = torch.nan  # which are biases to cuDNN
    for value, view in zip(weights, views, strict=True):
        value.data = view
    for name, value in zip(layer._flat_weights_names, weights, strict=True):
        setattr(layer, name, value)
    before = places(layer)
    assert [copied(layer, expected, x) for _ in range(2)] == ([0, 0] if bias else [1, 1])
    layer.flatten_parameters()
    assert places(layer) == before


def test_the_front_of_a_larger_piece() -> None:
    layer, expected, x = both()
    weights = [value.detach() for value in layer.parameters()]
    packed, views = operators.in_order(weights, 4)
    larger = torch.cat([packed, packed])
    for value, view in zip(layer.parameters(), views, strict=True):
        value.data = larger.as_strided(view.shape, view.stride(), view.storage_offset())
    assert copied(layer, expected, x) == 1


class Marked(torch.nn.Parameter):
    """A parameter that somebody else knows more about."""


def transposed(value: Tensor) -> Tensor:
    return torch.nn.Parameter(value.detach().T.contiguous().T)


def marked(value: Tensor) -> Tensor:
    return Marked(value.detach().clone())


def of_inference(value: Tensor) -> Tensor:
    with torch.inference_mode():
        return torch.nn.Parameter(value.clone(), requires_grad=False)


@pytest.mark.parametrize("changed", [transposed, marked, of_inference])
def test_what_is_no_plain_parameter_stays_where_it_is(changed: Any) -> None:
    layer, expected, x = both()
    layer.weight_hh_l0 = changed(layer.weight_hh_l0)
    before, stride = places(layer), layer.weight_hh_l0.stride()
    layer.flatten_parameters()
    assert (places(layer), layer.weight_hh_l0.stride()) == (before, stride)
    if changed is not marked:
        assert copied(layer.requires_grad_(False), expected, x.detach()) == 1


def test_parameters_of_two_dtypes_stay_where_they_are() -> None:
    layer, _, _ = both()
    layer.weight_hh_l0.data = layer.weight_hh_l0.data.float()
    before = places(layer)
    layer.flatten_parameters()
    assert places(layer) == before


def test_memory_that_pytorch_moved() -> None:
    expected = torch.nn.LSTM(3, 5, 2, dtype=torch.float64)
    with torch.no_grad():
        operators.flatten(expected._flat_weights, 4, 3, 2, 5, 0, 2, False, False)
    layer, x = copy.copy(expected), torch.randn(4, 2, 3, dtype=torch.float64)
    other = fastlstm.replace(layer)
    # The order has to be met once.
    assert [copied(other, copy.deepcopy(expected), x) for _ in range(3)] == [1, 0, 0]


def test_a_part_of_a_larger_piece_stays_there() -> None:
    layer, expected, x = both(num_layers=2)
    vector = parameters_to_vector(layer.parameters()).detach()
    vector_to_parameters(vector, layer.parameters())
    assert copied(layer, expected, x) == 1
    layer.flatten_parameters()
    vector.zero_()
    assert all((value == 0).all() for value in layer.parameters())


def test_copies_of_a_layer() -> None:
    layer, expected, x = both(num_layers=2)
    other = copy.deepcopy(layer)
    assert copied(other, expected, x) == 1
    other.flatten_parameters()
    assert copied(other, expected, x) == 0
    with torch.no_grad():
        other.weight_hh_l0.add_(1)
    assert copied(layer, expected, x) == 0
    assert not torch.equal(layer.weight_hh_l0, other.weight_hh_l0)


@pytest.mark.parametrize("options", [{}, {"bias": False}], ids=str)
def test_a_pickled_layer(options: dict[str, Any]) -> None:
    layer, expected, x = both(**options)
    stream = io.BytesIO()
    torch.save(layer, stream)
    stream.seek(0)
    loaded = torch.load(stream, weights_only=False)
    assert copied(loaded, expected, x) == (1 if options else 0)
    torch.testing.assert_close(loaded(x), layer(x))
    loaded = pickle.loads(pickle.dumps(layer))  # each weight has memory of its own
    assert copied(loaded, expected, x) == 1
    torch.testing.assert_close(loaded(x), layer(x))


def test_files_are_no_larger(tmp_path: Path) -> None:
    layer = fastlstm.LSTM(60, 70, 2)
    separate = {name: value.clone() for name, value in layer.state_dict().items()}
    size = sum(value.nbytes for value in separate.values())
    torch.save(layer.state_dict(), tmp_path / "whole.pt")
    torch.save(separate, tmp_path / "separate.pt")
    assert size < (tmp_path / "whole.pt").stat().st_size
    assert (tmp_path / "whole.pt").stat().st_size <= (tmp_path / "separate.pt").stat().st_size
    save_file(layer.state_dict(), tmp_path / "weights.safetensors")
    assert (tmp_path / "weights.safetensors").stat().st_size < size + 2000
    torch.testing.assert_close(load_file(tmp_path / "weights.safetensors"), separate)
    copies = copy.deepcopy(layer.state_dict())
    assert len({value.untyped_storage().data_ptr() for value in copies.values()}) == 1


@pytest.mark.parametrize("bias", [True, False])
def test_layers_that_share_weights(bias: bool) -> None:
    layer, expected, x = both(bias=True)
    other, of_other, _ = both(bias=bias)
    other.weight_ih_l0, other.weight_hh_l0 = layer.weight_ih_l0, layer.weight_hh_l0
    assert copied(layer, expected, x) == 0
    assert copied(other, of_other, x) == 1
    for each in (layer, other):
        each.double().flatten_parameters()
    assert other.weight_hh_l0 is layer.weight_hh_l0
    with torch.no_grad():
        layer.weight_hh_l0.add_(1)
    assert copied(layer, expected, x) + copied(other, of_other, x) == 1


def test_a_weight_that_is_two() -> None:
    layer, expected, x = both(num_layers=2)
    layer.weight_hh_l1 = layer.weight_hh_l0
    layer.float()
    assert copied(layer, expected.float(), x.detach().float()) == 1
    assert layer.weight_hh_l1 is layer.weight_hh_l0


def test_a_frozen_parameter() -> None:
    layer, expected, x = both()
    layer.weight_hh_l0.requires_grad_(False)
    layer.float()
    assert not layer.weight_hh_l0.requires_grad and layer.weight_ih_l0.requires_grad
    assert copied(layer, expected.float(), x.detach().float()) == 0


class Doubled(torch.nn.Module):
    """Twice the weight that it stands before."""

    def forward(self, weight: Tensor) -> Tensor:
        return 2 * weight


def test_a_parametrized_weight() -> None:
    layer, expected, x = both()
    parametrize.register_parametrization(layer, "weight_hh_l0", Doubled())
    layer.to(torch.float32).to(torch.float64)
    before, found = places(layer), layer(x)
    assert operators.flattened[-1] == 4 and places(layer) == before
    parametrize.remove_parametrizations(layer, "weight_hh_l0")
    expected.load_state_dict(layer.state_dict())
    torch.testing.assert_close(found, expected(x))


def test_dropout() -> None:
    layer, expected, x = both(num_layers=2, dropout=0.4)
    assert copied(layer.eval(), expected.eval(), x) == 0
    torch.manual_seed(3)
    found = layer.train()(x)
    assert len(operators.flattened) == 2  # cuDNN gets one layer after another
    torch.manual_seed(3)
    torch.testing.assert_close(found, expected.train()(x))


def test_weight_dropout() -> None:
    layer = fastlstm.LSTM(3, 5, weight_dropout=0.4)
    assert copied(layer.eval(), torch.nn.LSTM(3, 5), torch.zeros(4, 2, 3)) == 0


@pytest.mark.parametrize(
    "switch", [{"coupled_gates": True}, {"peephole": True}, {"layer_norm": True}], ids=str
)
def test_layers_that_it_does_not_serve(switch: dict[str, bool]) -> None:
    layer = fastlstm.LSTM(3, 5, **switch)
    operators.flattened.clear()
    layer.double()
    assert operators.flattened == []


def test_no_cudnn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "cudnn_is_acceptable", lambda x: False)
    layer = fastlstm.LSTM(3, 5)
    assert operators.flattened == []
    assert all(value.storage_offset() == 0 for value in layer.parameters())


def test_a_backward_pass_after_a_change_of_the_weights() -> None:
    layer, _, x = both()
    output, _ = layer(x)
    with torch.no_grad():
        layer.bias_hh_l0.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        output.sum().backward()


def test_memory_that_is_gone_is_forgotten() -> None:
    kept, expected, x = both(bias=False)
    for _ in range(5):
        layer = fastlstm.LSTM(3, 5, bias=False)
    assert len(cudnn_weights._moved) <= 3
    assert copied(kept, expected, x) == 0
    piece = layer.weight_hh_l0.untyped_storage()
    assert not cudnn_weights._moved[piece._cdata][0].expired()
