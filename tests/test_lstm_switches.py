"""Each switch of ``fastlstm.LSTM`` against the naive LSTM of ``modules.py``."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import fastlstm
from modules import (
    NaiveMasks,
    assert_close,
    assert_same,
    differentiated,
    double_lstm,
    naive_lstm,
    random_states,
)

T, B, I, H = 4, 2, 3, 5  # noqa: E741

DETERMINISTIC: dict[str, Any] = {
    "peephole": True,
    "layer_norm": True,
    "coupled_gates": True,
    "cell_clip": 0.3,
    "zoneout": (0.3, 0.2),
    "residual": True,
    "forget_bias": 1.5,
}
RANDOM: dict[str, Any] = {
    "recurrent_dropout": 0.4,
    "weight_dropout": 0.3,
    "locked_dropout": 0.5,
    "zoneout": (0.3, 0.2),
    "dropout": 0.2,
}
STACKS: list[dict[str, Any]] = [
    dict(num_layers=1),
    dict(num_layers=2, bidirectional=True),
    dict(num_layers=2, proj_size=2),
    dict(num_layers=3, bidirectional=True, proj_size=2, bias=False),
]


def width_of(stack: dict[str, Any]) -> int:
    return (stack.get("proj_size") or H) * (1 + stack.get("bidirectional", False))


def check_against_naive(
    layer: fastlstm.LSTM, steps: int = T, rows: int = B, tolerance: float = 1e-12
) -> None:
    """Outputs and every gradient of a layer in evaluation, from random initial states."""
    layer.eval()
    x = torch.randn(steps, rows, layer.input_size, dtype=torch.float64).requires_grad_()
    hx = random_states(layer, rows)
    expected = naive_lstm(layer, x, hx)
    assert_same(
        differentiated(layer, layer(x, hx), (x, *hx)),
        differentiated(layer, (expected.output, (expected.h_n, expected.c_n)), (x, *hx)),
        tolerance,
    )


@pytest.mark.parametrize("stack", STACKS, ids=str)
@pytest.mark.parametrize("switch", [None, *DETERMINISTIC])
def test_alone(switch: str | None, stack: dict[str, Any]) -> None:
    switches = {switch: DETERMINISTIC[switch]} if switch else {}
    if switch == "forget_bias":
        stack = {**stack, "bias": True}
    for features in {I, width_of(stack)} - ({I} if switch == "residual" else set()):
        check_against_naive(double_lstm(features, H, **stack, **switches))
    if switch == "residual" and stack["num_layers"] > 1:
        check_against_naive(double_lstm(I, H, **stack, **switches))


@settings(max_examples=80, deadline=None)
@given(
    names=st.sets(st.sampled_from(sorted(DETERMINISTIC)), min_size=2),
    layers=st.integers(1, 3),
    both=st.booleans(),
    bias=st.booleans(),
    proj_size=st.sampled_from([0, 0, 2, 3]),
    same_width=st.booleans(),
    steps=st.integers(1, 5),
    rows=st.integers(1, 3),
    seed=st.integers(0, 1000),
)
def test_random_combinations(
    names: set[str],
    layers: int,
    both: bool,
    bias: bool,
    proj_size: int,
    same_width: bool,
    steps: int,
    rows: int,
    seed: int,
) -> None:
    torch.manual_seed(seed)
    switches = {name: DETERMINISTIC[name] for name in sorted(names)}
    stack = dict(
        num_layers=layers,
        bidirectional=both,
        bias=bias or "forget_bias" in names,
        proj_size=proj_size,
    )
    fits = same_width or ("residual" in names and layers == 1)
    layer = double_lstm(width_of(stack) if fits else I, H, **stack, **switches)
    # Where the cells of a row hardly differ, layer norm multiplies what was rounded before it by up
    # to 1 / sqrt(1e-5), and each layer does so again.
    check_against_naive(layer, steps, rows, 1e-11 if "layer_norm" in names else 1e-12)


def test_clipping_clips() -> None:
    layer = double_lstm(I, H, cell_clip=0.25)
    cell = layer.trace(3 * torch.randn(9, B, I, dtype=torch.float64)).layers[0].cell
    assert cell.abs().max() == 0.25
    assert 0.1 < (cell.abs() == 0.25).double().mean() < 0.9


@pytest.mark.parametrize("coupled", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_names_and_shapes_of_parameters(coupled: bool, bias: bool) -> None:
    layer = fastlstm.LSTM(
        I, H, 2, bias, bidirectional=True, proj_size=2,
        peephole=True, layer_norm=True, coupled_gates=coupled,
    )  # fmt: skip
    gates = 3 if coupled else 4
    expected = {}
    for suffix, features in (("l0", I), ("l0_reverse", I), ("l1", 4), ("l1_reverse", 4)):
        expected[f"weight_ih_{suffix}"] = (gates * H, features)
        expected[f"weight_hh_{suffix}"] = (gates * H, 2)
        if bias:
            expected[f"bias_ih_{suffix}"] = expected[f"bias_hh_{suffix}"] = (gates * H,)
        expected[f"weight_hr_{suffix}"] = (2, H)
    for suffix in ("l0", "l0_reverse", "l1", "l1_reverse"):
        expected[f"weight_peephole_{suffix}"] = (gates - 1, H)
        expected[f"norm_ih_{suffix}"] = expected[f"norm_hh_{suffix}"] = (gates * H,)
        expected[f"norm_cell_{suffix}"] = (H,)
        if bias:
            expected[f"norm_cell_bias_{suffix}"] = (H,)
    assert {name: tuple(p.shape) for name, p in layer.named_parameters()} == expected
    assert [name for name, _ in layer.named_parameters()] == list(expected)
    assert sum(len(of_layer) for of_layer in layer.all_weights) == len(expected)


def test_initial_values() -> None:
    options: dict[str, Any] = dict(num_layers=2, bidirectional=True)
    torch.manual_seed(3)
    theirs = torch.nn.LSTM(I, H, **options)
    torch.manual_seed(3)
    ours = fastlstm.LSTM(I, H, **options, peephole=True, layer_norm=True)
    for name, value in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[name], value)

    def check() -> None:
        for name, value in ours.named_parameters():
            if name.startswith("norm_"):
                assert bool((value == (0.0 if "bias" in name else 1.0)).all())
            else:
                assert value.abs().max() <= H**-0.5
                assert value.unique().numel() == value.numel()

    check()
    with torch.no_grad():
        for value in ours.parameters():
            value.fill_(7.0)
    ours.reset_parameters()
    check()


@pytest.mark.parametrize("coupled", [False, True])
@pytest.mark.parametrize("value", [0.0, 1.0, -2.5])
def test_forget_bias(coupled: bool, value: float) -> None:
    torch.manual_seed(3)
    plain = fastlstm.LSTM(I, H, 2, bidirectional=True, coupled_gates=coupled)
    torch.manual_seed(3)
    layer = fastlstm.LSTM(I, H, 2, bidirectional=True, coupled_gates=coupled, forget_bias=value)
    rows = slice(0, H) if coupled else slice(H, 2 * H)
    for _ in range(2):
        for suffix in ("l0", "l0_reverse", "l1", "l1_reverse"):
            total = layer.get_parameter(f"bias_ih_{suffix}") + layer.get_parameter(
                f"bias_hh_{suffix}"
            )
            assert bool((total[rows] == value).all())
        for name, expected in plain.named_parameters():
            found = layer.get_parameter(name).clone()
            if name.startswith("bias_"):
                found[rows] = expected[rows]
            assert torch.equal(found, expected), name
        for one in (layer, plain):
            torch.manual_seed(4)
            one.reset_parameters()


def test_evaluation_draws_nothing() -> None:
    layer = double_lstm(I, H, 2, **{**RANDOM, "zoneout": 0.0}).eval()
    plain = double_lstm(I, H, 2)
    plain.load_state_dict(layer.state_dict())
    x = torch.randn(T, B, I, dtype=torch.float64)
    state = torch.get_rng_state()
    assert torch.equal(layer(x)[0], plain(x)[0])
    assert torch.equal(torch.get_rng_state(), state)
    check_against_naive(double_lstm(I, H, 2, **RANDOM))


def test_training_without_chance_is_evaluation() -> None:
    switches = {**DETERMINISTIC, "zoneout": 0.0}
    layer = double_lstm(I, H, 2, **switches)
    x = torch.randn(T, B, I, dtype=torch.float64)
    state = torch.get_rng_state()
    assert torch.equal(layer.train()(x)[0], layer.eval()(x)[0])
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("every", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("random", [False, True])
@pytest.mark.parametrize("both", [False, True])
def test_checkpoints_change_nothing(every: int, random: bool, both: bool) -> None:
    switches = {**DETERMINISTIC, **(RANDOM if random else {})}
    layer = double_lstm(I, H, 2, bidirectional=both, **switches)
    layer.train(random)
    x = torch.randn(7, B, I, dtype=torch.float64).requires_grad_()
    hx = random_states(layer, B)

    def run(checkpoint_every: int | None) -> dict[str, Tensor]:
        layer.checkpoint_every = checkpoint_every
        torch.manual_seed(5)
        lengths = torch.tensor([7, 4])
        return differentiated(layer, layer(x, hx, lengths=lengths), (x, *hx))

    assert_same(run(every), run(None))


@pytest.mark.parametrize("both", [False, True])
def test_rate_of_one_leaves_zeros_and_no_nan(both: bool) -> None:
    rates = dict.fromkeys(("dropout", "recurrent_dropout", "weight_dropout", "locked_dropout"), 1.0)
    layer = double_lstm(I, H, 2, bidirectional=both, **rates)
    x, hx = torch.randn(1, B, I, dtype=torch.float64), random_states(layer, B)
    result = layer(x, hx)
    for value in differentiated(layer, result, hx).values():
        assert value.isfinite().all()
    # Nothing comes from below and nothing from h: what is left is the cell and the biases.
    plain = double_lstm(I, H, 2, bidirectional=both)
    plain.load_state_dict(layer.state_dict())
    with torch.no_grad():
        for name, parameter in plain.named_parameters():
            if name.startswith("weight_hh") or name.startswith("weight_ih_l1"):
                parameter.zero_()
    assert_close(result[0], plain(x, hx)[0])


# What training draws is recovered from a trace, then given to the naive LSTM. -----------------


def recurrent_inputs(layer: fastlstm.LSTM, suffix: str, trace: Any, x: Tensor) -> Tensor:
    """(T, B, 4H): what the gates got from the last hidden state."""
    z = torch.cat(
        (
            torch.logit(trace.input_gate),
            torch.logit(trace.forget_gate),
            torch.atanh(trace.cell_gate),
            torch.logit(trace.output_gate),
        ),
        dim=-1,
    )
    biases = layer.get_parameter(f"bias_ih{suffix}") + layer.get_parameter(f"bias_hh{suffix}")
    return (z - x @ layer.get_parameter(f"weight_ih{suffix}").T - biases).detach()


def hidden_before(hidden: Tensor, h_0: Tensor, reverse: bool) -> Tensor:
    if reverse:
        return torch.cat((hidden[1:], h_0[None])).detach()
    return torch.cat((h_0[None], hidden[:-1])).detach()


def solve(matrix: Tensor, right: Tensor) -> Tensor:
    """y in ``matrix y = right``, over the last dimension of ``right``."""
    return torch.linalg.lstsq(matrix, right.flatten(0, 1).T).solution.T.unflatten(
        0, right.shape[:2]
    )


def as_mask(recovered: Tensor, rate: float) -> Tensor:
    """The mask exactly, from a recovered one: 0 or 1 / (1 - rate)."""
    mask = (recovered > 0.5).double() / (1 - rate)
    torch.testing.assert_close(recovered, mask, rtol=0.0, atol=1e-7)
    return mask


@pytest.mark.parametrize("proj_size", [0, 3])
def test_recurrent_dropout_is_one_mask_for_the_sequence(proj_size: int) -> None:
    layer = double_lstm(I, 7, bidirectional=True, proj_size=proj_size, recurrent_dropout=0.4)
    x, (h_0, c_0) = torch.randn(T, 6, I, dtype=torch.float64), random_states(layer, 6)
    trace = layer.trace(x, (h_0, c_0))
    masks = []
    for index, suffix in enumerate(("_l0", "_l0_reverse")):
        inside = trace.layers[index]
        before = hidden_before(inside.hidden, h_0[index], index == 1)
        seen = solve(
            layer.get_parameter(f"weight_hh{suffix}").detach(),
            recurrent_inputs(layer, suffix, inside, x),
        )
        mask = as_mask(seen / before, 0.4)
        assert torch.equal(mask, mask[:1].expand_as(mask))
        masks.append(NaiveMasks(recurrent=mask[0]))
    drawn = torch.stack([mask.recurrent for mask in masks if mask.recurrent is not None])
    assert 0.2 < (drawn == 0).double().mean() < 0.6
    assert not torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0, 0], drawn[0, 1])
    expected = naive_lstm(layer, x, (h_0, c_0), masks=masks)
    assert_close(trace.output, expected.output)
    assert_close(trace.final[1], expected.c_n)


def test_weight_dropout_is_one_mask_a_forward() -> None:
    layer = double_lstm(I, H, weight_dropout=0.3)
    rows = 6
    x, (h_0, c_0) = torch.randn(T, rows, I, dtype=torch.float64), random_states(layer, rows)
    seen = []
    for _ in range(2):
        trace = layer.trace(x, (h_0, c_0))
        before = hidden_before(trace.layers[0].hidden, h_0[0], False).flatten(0, 1)
        products = recurrent_inputs(layer, "_l0", trace.layers[0], x).flatten(0, 1)
        used = torch.linalg.lstsq(before, products).solution.T
        mask = as_mask(used / layer.weight_hh_l0.detach(), 0.3)
        assert 0.15 < (mask == 0).double().mean() < 0.45
        twin = double_lstm(I, H)
        twin.load_state_dict(layer.state_dict())
        with torch.no_grad():
            twin.weight_hh_l0.mul_(mask)
        assert_close(trace.output, naive_lstm(twin, x, (h_0, c_0)).output)
        (gradient,) = torch.autograd.grad(trace.output.sum(), layer.weight_hh_l0)
        assert torch.equal(gradient == 0, mask == 0)
        seen.append(mask)
    assert not torch.equal(seen[0], seen[1])


def test_locked_dropout_is_one_mask_for_all_steps_between_layers() -> None:
    layer = double_lstm(I, H, 2, locked_dropout=0.5)
    x, (h_0, c_0) = torch.randn(T, 6, I, dtype=torch.float64), random_states(layer, 6)
    trace = layer.trace(x, (h_0, c_0))
    first, second = trace.layers
    assert torch.equal(trace.output, second.hidden)
    assert_close(first.hidden, naive_lstm(layer, x, (h_0, c_0)).layers[0].hidden)
    without = recurrent_inputs(layer, "_l1", second, torch.zeros_like(first.hidden))
    before = hidden_before(second.hidden, h_0[1], False)
    from_input = without - before @ layer.weight_hh_l1.detach().T
    mask = as_mask(solve(layer.weight_ih_l1.detach(), from_input) / first.hidden.detach(), 0.5)
    assert torch.equal(mask, mask[:1].expand_as(mask))
    assert not torch.equal(mask[0, 0], mask[0, 1])
    assert 0.2 < (mask == 0).double().mean() < 0.8


@pytest.mark.parametrize("rates", [(0.3, 0.2), (0.0, 0.4), (0.25, 0.0), (1.0, 1.0)])
def test_zoneout_keeps_units_exactly(rates: tuple[float, float]) -> None:
    layer = double_lstm(I, 17, bidirectional=True, proj_size=9, zoneout=rates)
    x, (h_0, c_0) = torch.randn(23, B, I, dtype=torch.float64), random_states(layer, B)
    trace = layer.trace(x, (h_0, c_0))
    masks = []
    for index, inside in enumerate(trace.layers):
        kept_c = inside.cell == hidden_before(inside.cell, c_0[index], index == 1)
        kept_h = inside.hidden == hidden_before(inside.hidden, h_0[index], index == 1)
        for kept, rate in ((kept_c, rates[0]), (kept_h, rates[1])):
            deviation = (rate * (1 - rate) / kept.numel()) ** 0.5
            assert abs(kept.double().mean().item() - rate) <= 4 * deviation
            if 0 < rate < 1:
                assert not torch.equal(kept[0], kept[1])
        masks.append(NaiveMasks(zoneout_cell=kept_c, zoneout_hidden=kept_h))
    if 0 < rates[0] < 1:
        assert not torch.equal(masks[0].zoneout_cell, masks[1].zoneout_cell)
    expected = naive_lstm(layer, x, (h_0, c_0), masks=masks)
    assert_close(trace.output, expected.output)
    assert_close(trace.final[0], expected.h_n)
    assert_close(trace.final[1], expected.c_n)
