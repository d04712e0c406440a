"""``fastlstm.LSTMCell`` against ``torch.nn.LSTMCell`` and, with switches, ``LSTM.step``."""

import copy
import pickle
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import fastlstm
from layer_errors import CELL_CALL_ERRORS, SWITCH_ERRORS
from modules import (
    States,
    assert_close,
    assert_same,
    gradients,
    naive_step,
    raises,
    randomize_norms,
)

B, I, H = 3, 4, 5  # noqa: E741

SWITCHES: dict[str, Any] = {
    "peephole": True,
    "layer_norm": True,
    "coupled_gates": True,
    "cell_clip": 0.3,
    "zoneout": (0.3, 0.2),
    "forget_bias": 1.5,
}


def twins(bias: bool, dtype: torch.dtype = torch.float64) -> tuple[Any, Any]:
    ours, theirs = (kind(I, H, bias, dtype=dtype) for kind in KINDS)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    return ours, theirs


KINDS = (fastlstm.LSTMCell, torch.nn.LSTMCell)


def double_cell(**switches: Any) -> fastlstm.LSTMCell:
    return randomize_norms(fastlstm.LSTMCell(I, H, dtype=torch.float64, **switches))


def random_pair(batched: bool = True) -> States:
    shape = (B, H) if batched else (H,)
    h, c = torch.randn(2, *shape, dtype=torch.float64)
    return h.requires_grad_(), c.requires_grad_()


def an_input(batched: bool = True) -> Tensor:
    return torch.randn((B, I) if batched else (I,), dtype=torch.float64).requires_grad_()


def results(layer: Any, state: States, inputs: tuple[Tensor, ...]) -> dict[str, Tensor]:
    given_values = {f"input {k}": value for k, value in enumerate(inputs)}
    found = gradients(state, {**given_values, **dict(layer.named_parameters())})
    return {"h": state[0], "c": state[1], **found}


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("batched", [False, True])
@pytest.mark.parametrize("with_state", [False, True])
def test_same_numbers_and_gradients(bias: bool, batched: bool, with_state: bool) -> None:
    ours, theirs = twins(bias)
    x, hx = an_input(batched), random_pair(batched) if with_state else None
    inputs = (x, *(hx or ()))
    assert_same(results(ours, ours(x, hx), inputs), results(theirs, theirs(x, hx), inputs))


@pytest.mark.parametrize("bias", [False, True])
def test_same_parameters_from_the_same_seed(bias: bool) -> None:
    def values(kind: Any) -> list[tuple[str, Tensor]]:
        torch.manual_seed(7)
        layer = kind(I, H, bias)
        first = list(copy.deepcopy(layer).named_parameters())
        layer.reset_parameters()
        return [*first, *layer.named_parameters(), ("next", torch.rand(()))]

    for mine, yours in zip(values(KINDS[0]), values(KINDS[1]), strict=True):
        assert mine[0] == yours[0]
        assert torch.equal(mine[1], yours[1])
    assert isinstance(fastlstm.LSTMCell(I, H), torch.nn.LSTMCell)


def test_state_dict_both_ways() -> None:
    ours, theirs = (kind(I, H) for kind in KINDS)
    theirs.load_state_dict(ours.state_dict(), strict=True)
    assert torch.equal(ours.weight_hh, theirs.weight_hh)
    ours.reset_parameters()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    assert torch.equal(ours.weight_hh, theirs.weight_hh)


@pytest.mark.parametrize("bias", [False, True])
def test_representation(bias: bool) -> None:
    assert repr(fastlstm.LSTMCell(I, H, bias)) == repr(torch.nn.LSTMCell(I, H, bias))
    layer = fastlstm.LSTMCell(I, H, coupled_gates=True, zoneout=0.1, forget_bias=1)
    assert repr(layer) == (
        "LSTMCell(4, 5, coupled_gates=True, zoneout=(0.1, 0.1), forget_bias=1.0)"
    )


def test_copies_are_independent_and_equal() -> None:
    layer = double_cell(**SWITCHES).eval()
    x, hx = an_input(), random_pair()
    expected = layer(x, hx)[0].detach()
    for other in (pickle.loads(pickle.dumps(layer)), copy.deepcopy(layer)):
        assert type(other) is fastlstm.LSTMCell
        assert repr(other) == repr(layer)
        assert torch.equal(other(x, hx)[0], expected)
        with torch.no_grad():
            other.weight_hh.add_(1.0)
        assert torch.equal(layer(x, hx)[0], expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_change_of_dtype(dtype: torch.dtype) -> None:
    layer = double_cell(**SWITCHES).eval()
    x, hx = an_input(), random_pair()
    low = copy.deepcopy(layer).to(dtype)
    layer.load_state_dict({name: p.double() for name, p in low.state_dict().items()})
    x, (h, c) = x.detach().to(dtype), (state.detach().to(dtype) for state in hx)
    found, expected = low(x, (h, c)), layer(x.double(), (h.double(), c.double()))
    for value, exact in zip(found, expected, strict=True):
        assert value.dtype == dtype
        assert (value.double() - exact).abs().max() <= 2 * torch.finfo(dtype).eps


def test_empty_batch_strides_and_meta_device() -> None:
    layer = double_cell()
    h, c = layer(torch.zeros(0, I, dtype=torch.float64))
    assert h.shape == c.shape == (0, H)
    x, (h, c) = torch.randn(I, B, dtype=torch.float64).T, torch.randn(2, H, B).double().mT
    assert not x.is_contiguous() and not h.is_contiguous()
    assert_close(layer(x, (h, c))[1], layer(x.contiguous(), (h.contiguous(), c.contiguous()))[1])
    meta = fastlstm.LSTMCell(I, H, device="meta")(torch.empty(B, I, device="meta"))
    assert meta[0].shape == (B, H) and meta[0].device.type == "meta"


def check_against_naive_and_step(bias: bool, batched: bool, names: set[str]) -> None:
    switches = {name: SWITCHES[name] for name in sorted(names)}
    cell = double_cell(bias=bias or "forget_bias" in names, **switches).eval()
    layer = fastlstm.LSTM(I, H, bias=cell.bias, dtype=torch.float64, **switches).eval()
    assert [name + "_l0" for name, _ in cell.named_parameters()] == list(layer.state_dict())
    layer.load_state_dict({f"{name}_l0": value for name, value in cell.state_dict().items()})
    x, hx = an_input(batched), random_pair(batched)
    found = cell(x, hx)
    stepped, (h_n, c_n) = layer.step(x, (hx[0][None], hx[1][None]))
    assert torch.equal(found[0], stepped)
    assert torch.equal(found[0], h_n[0])
    assert torch.equal(found[1], c_n[0])
    rows = zip(x, *hx, strict=True) if batched else [(x, *hx)]
    naive = [naive_step(cell, "", *row) for row in rows]
    h, c = torch.stack([one.hidden for one in naive]), torch.stack([one.cell for one in naive])
    expected = (h, c) if batched else (h[0], c[0])
    assert_same(results(cell, found, (x, *hx)), results(cell, expected, (x, *hx)))


@pytest.mark.parametrize("name", list(SWITCHES))
@pytest.mark.parametrize("batched", [False, True])
def test_each_switch(name: str, batched: bool) -> None:
    check_against_naive_and_step(True, batched, {name})


@settings(max_examples=40, deadline=None)
@given(
    bias=st.booleans(),
    batched=st.booleans(),
    names=st.sets(st.sampled_from(sorted(SWITCHES)), min_size=2),
    seed=st.integers(0, 1000),
)
def test_random_combinations(bias: bool, batched: bool, names: set[str], seed: int) -> None:
    torch.manual_seed(seed)
    check_against_naive_and_step(bias, batched, names)


def test_names_and_shapes_of_parameters() -> None:
    layer = fastlstm.LSTMCell(I, H, peephole=True, layer_norm=True, coupled_gates=True)
    assert {name: tuple(p.shape) for name, p in layer.named_parameters()} == {
        "weight_ih": (15, I),
        "weight_hh": (15, H),
        "bias_ih": (15,),
        "bias_hh": (15,),
        "weight_peephole": (2, H),
        "norm_ih": (15,),
        "norm_hh": (15,),
        "norm_cell": (H,),
        "norm_cell_bias": (H,),
    }
    plain = fastlstm.LSTMCell(I, H, False, peephole=True, layer_norm=True)
    assert plain.weight_peephole.shape == (3, H)
    assert plain.norm_ih.shape == (20,)
    assert "norm_cell_bias" not in plain.state_dict()
    biased = fastlstm.LSTMCell(I, H, forget_bias=1.5)
    assert bool(((biased.bias_ih + biased.bias_hh)[H : 2 * H] == 1.5).all())


def test_zoneout_in_training_keeps_units_exactly() -> None:
    layer = fastlstm.LSTMCell(I, 1013, zoneout=(0.3, 0.0), dtype=torch.float64)
    x, hx = an_input(), torch.randn(2, B, 1013, dtype=torch.float64)
    kept = layer(x, (hx[0], hx[1]))[1] == hx[1]
    assert abs(kept.double().mean().item() - 0.3) < 0.035
    plain = fastlstm.LSTMCell(I, 1013, dtype=torch.float64)
    plain.load_state_dict(layer.state_dict())
    new = plain(x, (hx[0], hx[1]))
    torch.manual_seed(3)
    found = layer(x, (hx[0], hx[1]))
    assert_close(found[0], new[0])
    assert_close(found[1], torch.where(found[1] == hx[1], hx[1], new[1]))
    torch.manual_seed(3)
    assert torch.equal(layer(x, (hx[0], hx[1]))[1], found[1])
    state = torch.get_rng_state()
    mixed = layer.eval()(x, (hx[0], hx[1]))[1]
    assert_close(mixed, 0.3 * hx[1] + 0.7 * new[1])
    assert torch.equal(torch.get_rng_state(), state)


CELL_SWITCH_ERRORS = [error for error in SWITCH_ERRORS if error[0] in SWITCHES]


@pytest.mark.parametrize(
    ("switch", "value", "kind", "message"),
    CELL_SWITCH_ERRORS,
    ids=[error[0] for error in CELL_SWITCH_ERRORS],
)
def test_errors_of_switches(switch: str, value: Any, kind: type[Exception], message: str) -> None:
    with raises(kind, message):
        fastlstm.LSTMCell(I, H, **{switch: value})


def test_error_of_forget_bias_without_bias() -> None:
    with raises(ValueError, "forget_bias=0.5 sets a bias, but bias=False"):
        fastlstm.LSTMCell(I, H, False, forget_bias=0.5)


@pytest.mark.parametrize(
    ("arguments", "kind", "message"), CELL_CALL_ERRORS, ids=[e[2] for e in CELL_CALL_ERRORS]
)
def test_errors_of_the_call(arguments: Any, kind: type[Exception], message: str) -> None:
    with raises(kind, message):
        fastlstm.LSTMCell(3, 5)(*arguments)
