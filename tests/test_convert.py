"""``fastlstm.replace`` and ``fastlstm.restore``."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune
from torch.nn.utils.parametrize import (
    is_parametrized,
    register_parametrization,
    remove_parametrizations,
    type_before_parametrizations,
)

import fastlstm
from modules import assert_close, assert_same, gradients, raises

T, B, I, H = 4, 2, 3, 5  # noqa: E741


class Tagger(nn.Module):
    """A layer, a cell, one layer under two names, and something else."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.LSTM(I, H, 2, bidirectional=True, dropout=0.3, batch_first=True)
        self.decoders = nn.ModuleDict({"first": nn.LSTMCell(2 * H, H), "gru": nn.GRUCell(H, H)})
        self.shared = nn.LSTM(H, H, proj_size=2)
        self.again = self.shared
        self.head = nn.Sequential(nn.Linear(2, 7), nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        features, _ = self.encoder(x)
        h = self.decoders["gru"](self.decoders["first"](features[:, -1])[0])
        return self.head(self.again(h.expand(3, *h.shape))[0])


class Derived(nn.LSTM):
    pass


class DerivedFromOurs(fastlstm.LSTM):
    pass


class Halved(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return weight / 2


def double_tagger() -> Tagger:
    return Tagger().double()


def an_input() -> Tensor:
    return torch.randn(B, T, I, dtype=torch.float64)


def test_replace_and_restore_a_nested_model() -> None:
    model = double_tagger()
    original = copy.deepcopy(model)
    kinds = {name: type(module) for name, module in model.named_modules()}
    x = an_input()
    for training in (True, False):
        model.train(training)
        original.train(training)
        assert fastlstm.replace(model) is model
        assert [type(model.encoder), type(model.decoders["first"]), type(model.shared)] == [
            fastlstm.LSTM,
            fastlstm.LSTMCell,
            fastlstm.LSTM,
        ]
        assert model.again is model.shared
        assert type(model.decoders["gru"]) is nn.GRUCell
        assert {module.training for module in model.modules()} == {training}
        assert list(model.state_dict()) == list(original.state_dict())

        def run(one: nn.Module) -> dict[str, Tensor]:
            torch.manual_seed(3)
            output = one(x)
            return {"output": output, **gradients([output], dict(one.named_parameters()))}

        assert_same(run(model), run(original))
        fastlstm.replace(model)
        assert_same(run(model), run(original))
        assert fastlstm.restore(model) is model
        assert {name: type(module) for name, module in model.named_modules()} == kinds
        assert vars(model.encoder).keys() == vars(original.encoder).keys()
        assert repr(model) == repr(original)
        assert_same(run(model), run(original))
        fastlstm.restore(model)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.LSTMCell])
def test_root_itself(kind: Any) -> None:
    layer = kind(I, H)
    assert fastlstm.replace(layer) is layer
    ours = {nn.LSTM: fastlstm.LSTM, nn.LSTMCell: fastlstm.LSTMCell}[kind]
    assert type(layer) is ours
    assert repr(layer) == repr(ours(I, H))
    assert layer(torch.zeros(B, I))[0].shape == (B, H)
    assert fastlstm.restore(layer) is layer
    assert type(layer) is kind


def test_derived_classes_are_left_alone() -> None:
    model = nn.Sequential(Derived(I, H), nn.LSTM(I, H), DerivedFromOurs(I, H, peephole=True))
    fastlstm.replace(model)
    assert [type(layer) for layer in model] == [Derived, fastlstm.LSTM, DerivedFromOurs]
    fastlstm.restore(model)
    assert [type(layer) for layer in model] == [Derived, nn.LSTM, DerivedFromOurs]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_dtype_and_device_stay(dtype: torch.dtype) -> None:
    layer = fastlstm.replace(nn.LSTM(I, H, dtype=dtype))
    assert {p.dtype for p in layer.parameters()} == {dtype}
    assert layer(torch.zeros(T, B, I, dtype=dtype))[0].dtype == dtype
    meta = fastlstm.replace(nn.LSTM(I, H, device="meta"))
    assert meta(torch.zeros(T, B, I, device="meta"))[0].device.type == "meta"


def test_dtype_changes_between_replace_and_restore() -> None:
    layer = fastlstm.replace(nn.LSTM(I, H)).double()
    x = torch.randn(T, B, I, dtype=torch.float64)
    expected = layer(x)[0]
    assert_close(fastlstm.restore(layer)(x)[0], expected)


def test_switches_may_be_set_on_a_replaced_layer() -> None:
    layer = fastlstm.replace(nn.LSTM(I, H, dtype=torch.float64))
    same = fastlstm.LSTM(I, H, dtype=torch.float64, cell_clip=0.1, checkpoint_every=2)
    same.load_state_dict(layer.state_dict())
    setattr(layer, "cell_clip", 0.1)  # noqa: B010
    setattr(layer, "checkpoint_every", 2)  # noqa: B010
    x = torch.randn(T, B, I, dtype=torch.float64)
    assert repr(layer) == repr(same)
    assert torch.equal(layer(x)[0], same(x)[0])


def test_optimizer_keeps_working() -> None:
    model = double_tagger().eval()
    before = {name: id(p) for name, p in model.named_parameters()}
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    twin = copy.deepcopy(model)
    twin_optimizer = torch.optim.Adam(twin.parameters(), lr=0.01)
    x = an_input()
    for convert in (fastlstm.replace, fastlstm.restore, fastlstm.replace, lambda m: m):
        for one, its_optimizer in ((model, optimizer), (twin, twin_optimizer)):
            its_optimizer.zero_grad()
            one(x).square().sum().backward()
            its_optimizer.step()
        convert(model)
        assert {name: id(p) for name, p in model.named_parameters()} == before
    for mine, yours in zip(model.parameters(), twin.parameters(), strict=True):
        assert_close(mine, yours, 1e-9)  # Adam divides by the gradient's size, small ones too


@pytest.mark.parametrize("kind", [nn.LSTM, nn.LSTMCell])
def test_hooks_still_fire(kind: Any) -> None:
    layer = kind(I, H)
    fired: list[str] = []

    def note(name: str) -> Callable[..., None]:
        return lambda *_: fired.append(name)

    layer.register_forward_pre_hook(note("forward pre"))
    layer.register_forward_hook(note("forward"))
    layer.register_full_backward_pre_hook(note("backward pre"))
    layer.register_full_backward_hook(note("backward"))
    layer.register_state_dict_pre_hook(note("state_dict pre"))
    layer.register_state_dict_post_hook(note("state_dict"))
    layer.register_load_state_dict_pre_hook(note("load pre"))
    layer.register_load_state_dict_post_hook(note("load"))
    next(layer.parameters()).register_hook(note("parameter"))

    def use() -> list[str]:
        fired.clear()
        layer(torch.randn(B, I, requires_grad=True))[0].sum().backward()
        layer.load_state_dict(layer.state_dict())
        return list(fired)

    expected = use()
    assert len(expected) == len(set(expected)) == 9
    fastlstm.replace(layer)
    assert use() == expected
    fastlstm.restore(layer)
    assert use() == expected


PARAMETRIZATIONS: dict[str, Callable[[nn.Module, str], Any]] = {
    "weight_norm": parametrizations.weight_norm,
    "orthogonal": parametrizations.orthogonal,
    "custom": lambda layer, name: register_parametrization(layer, name, Halved()),
}


@pytest.mark.parametrize("parametrize", PARAMETRIZATIONS.values(), ids=list(PARAMETRIZATIONS))
@pytest.mark.parametrize("kind", [nn.LSTM, nn.LSTMCell])
@pytest.mark.parametrize("when", ["before", "after"])
def test_parametrizations(parametrize: Any, kind: Any, when: str) -> None:
    layer = kind(I, H, dtype=torch.float64)
    name = "weight_hh_l0" if kind is nn.LSTM else "weight_ih"
    plain = getattr(layer, name).detach().clone()
    if when == "before":
        parametrize(layer, name)
        theirs = copy.deepcopy(layer)
        fastlstm.replace(layer)
    else:
        theirs = copy.deepcopy(layer)
        torch.manual_seed(5)
        parametrize(theirs, name)
        fastlstm.replace(layer)
        torch.manual_seed(5)
        parametrize(layer, name)
    x = torch.randn(B, I, dtype=torch.float64)

    def run(one: nn.Module) -> dict[str, Tensor]:
        output, _ = one(x)
        return {"output": output, **gradients([output], dict(one.named_parameters()))}

    def check(expected: type) -> None:
        assert is_parametrized(layer, name)
        assert type_before_parametrizations(layer) is expected
        assert isinstance(layer, expected)
        assert_same(run(layer), run(theirs))
        changed = [p for n, p in layer.named_parameters() if n.startswith("parametrizations.")]
        before = layer(x)[0]
        with torch.no_grad():
            for parameter in changed:
                parameter.add_(0.5)
        assert not torch.equal(layer(x)[0], before)
        layer.load_state_dict(theirs.state_dict())

    ours = {nn.LSTM: fastlstm.LSTM, nn.LSTMCell: fastlstm.LSTMCell}[kind]
    check(ours)
    other = copy.deepcopy(layer)
    assert_same(run(other), run(theirs))
    fastlstm.restore(layer)
    check(kind)
    fastlstm.replace(layer)
    check(ours)
    for one, expected in ((layer, ours), (fastlstm.restore(other), kind)):
        effective = getattr(one, name).detach().clone()
        output = one(x)[0]
        remove_parametrizations(one, name)
        assert type(one) is expected
        assert torch.equal(getattr(one, name), effective)
        assert_close(one(x)[0], output)
    if parametrize is PARAMETRIZATIONS["custom"]:
        assert torch.equal(getattr(layer, name), plain / 2)


def test_several_parametrizations_on_a_layer_with_switches() -> None:
    layer = fastlstm.LSTM(I, H, 2, peephole=True, dtype=torch.float64)
    parametrizations.weight_norm(layer, "weight_ih_l0")
    parametrizations.weight_norm(layer, "weight_hh_l1")
    register_parametrization(layer, "weight_peephole_l1", Halved())
    with raises(
        ValueError,
        "restore: this layer has peephole=True, which torch.nn.LSTM cannot express",
    ):
        fastlstm.restore(layer)
    assert type_before_parametrizations(layer) is fastlstm.LSTM
    x = torch.randn(T, B, I, dtype=torch.float64)
    expected = layer(x)[0]
    for name in ("weight_ih_l0", "weight_hh_l1", "weight_peephole_l1"):
        remove_parametrizations(layer, name)
        assert_close(layer(x)[0], expected)
    assert type(layer) is fastlstm.LSTM


def test_pruned_layers() -> None:
    layer = nn.LSTM(I, H, dtype=torch.float64)
    prune.random_unstructured(layer, "weight_hh_l0", 0.5)
    x = torch.randn(T, B, I, dtype=torch.float64)
    expected = layer(x)[0]
    fastlstm.replace(layer)
    assert (layer.weight_hh_l0 == 0).double().mean() >= 0.5
    assert_close(layer(x)[0], expected)
    prune.remove(layer, "weight_hh_l0")
    assert_close(layer(x)[0], expected)


@pytest.mark.parametrize("restored", [False, True])
def test_copies_after_the_exchange(restored: bool) -> None:
    model = fastlstm.replace(double_tagger().eval())
    if restored:
        fastlstm.restore(model)
    x = an_input()
    for other in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert type(other.encoder) is type(model.encoder)
        assert other.again is other.shared
        assert torch.equal(other(x), model(x))


REFUSED: dict[str, Any] = dict(
    peephole=True, layer_norm=True, coupled_gates=True, recurrent_dropout=0.1, weight_dropout=0.1,
    locked_dropout=0.1, zoneout=(0.0, 0.1), cell_clip=2.5, residual=True,
)  # fmt: skip


@pytest.mark.parametrize("switch", list(REFUSED))
def test_restore_refuses_what_pytorch_cannot_express(switch: str) -> None:
    value = REFUSED[switch]
    refused = fastlstm.LSTM(I, H, 2, **{switch: value}, checkpoint_every=3)
    model = nn.ModuleDict({"first": fastlstm.LSTM(I, H), "deep": nn.Sequential(nn.Tanh(), refused)})
    expected = f"restore: layer 'deep.1' has {switch}={value!r}, which torch.nn.LSTM cannot express"
    with raises(ValueError, expected):
        fastlstm.restore(model)
    assert type(model["first"]) is fastlstm.LSTM
    assert type(refused) is fastlstm.LSTM
    assert refused.checkpoint_every == 3
    with raises(ValueError, expected.replace("layer 'deep.1'", "this layer")):
        fastlstm.restore(refused)


def test_restore_refuses_a_cell_with_a_switch() -> None:
    with raises(
        ValueError,
        "restore: this layer has zoneout=(0.2, 0.2), which torch.nn.LSTMCell cannot express",
    ):
        fastlstm.restore(fastlstm.LSTMCell(I, H, zoneout=0.2))


def test_restore_drops_what_does_not_change_the_numbers() -> None:
    layer = fastlstm.LSTM(I, H, 2, dropout=0.2, forget_bias=1.0, checkpoint_every=3)
    cell = fastlstm.LSTMCell(I, H, forget_bias=1.0)
    fastlstm.restore(nn.ModuleList([layer, cell]))
    assert type(layer) is nn.LSTM
    assert type(cell) is nn.LSTMCell
    assert vars(layer).keys() == vars(nn.LSTM(I, H)).keys()
    assert vars(cell).keys() == vars(nn.LSTMCell(I, H)).keys()
    assert layer.dropout == 0.2
    assert bool((layer.bias_ih_l0[H : 2 * H] == 1).all())
    again = fastlstm.replace(layer)
    assert getattr(again, "checkpoint_every", 0) is None


@pytest.mark.parametrize("value", ["a model", None, nn.LSTM])
def test_errors(value: Any) -> None:
    name = type(value).__name__
    with raises(TypeError, f"replace: expected a torch.nn.Module, got {name}"):
        fastlstm.replace(value)
    with raises(TypeError, f"restore: expected a torch.nn.Module, got {name}"):
        fastlstm.restore(value)
