"""The straight way of plain layers without gradients: which calls take it, and that they may."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.utils import parametrize

import fastlstm
from fastlstm import _engine
from fastlstm.ops import cpu
from layer_errors import CALL_ERRORS, CELL_CALL_ERRORS
from modules import raises

pytestmark = pytest.mark.skipif(
    not cpu.READS_TENSORS, reason="this PyTorch has no table of C functions for DLPack"
)
T, B, I, H = 5, 3, 4, 7  # noqa: E741
DTYPES = (torch.float32, torch.float64, torch.bfloat16)


class Calls:
    """Counts the calls that the engine served, and lets them be turned away."""

    def __init__(self) -> None:
        self.served = 0
        self.closed = False
        self._engine = _engine.plain_layers

    def __call__(self, *arguments: Any) -> Any:
        result = None if self.closed else self._engine(*arguments)
        self.served += result is not None
        return result


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[Calls]:
    counted = Calls()
    monkeypatch.setattr(_engine, "plain_layers", counted)
    with torch.no_grad():
        yield counted


def both_ways(calls: Calls, function: Any) -> tuple[Any, Any]:
    """The result of the straight way, which must serve, and that of the way through operators."""
    before = calls.served
    straight = function()
    assert calls.served == before + 1
    calls.closed = True
    through_operators = function()
    calls.closed = False
    assert calls.served == before + 1
    return straight, through_operators


def assert_identical(found: Any, expected: Any) -> None:
    """Equal to the bit, and of the same shape, dtype and strides."""
    if isinstance(expected, tuple):
        assert type(found) is type(expected) and len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_identical(one, other)
        return
    assert found.dtype == expected.dtype and found.shape == expected.shape
    assert found.isfinite().all() and torch.equal(found, expected)
    assert not found.requires_grad and found.device == expected.device


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("given_states", [True, False])
def test_sequences(
    calls: Calls, dtype: torch.dtype, layers: int, bias: bool, given_states: bool
) -> None:
    if dtype == torch.bfloat16 and not _engine.features()["avx512_bf16"]:
        pytest.skip("the engine multiplies no bfloat16 here")
    layer = fastlstm.LSTM(I, H, layers, bias=bias, dtype=dtype)
    x = torch.randn(T, B, I, dtype=dtype)
    h, c = torch.randn(2, layers, B, H, dtype=dtype)
    assert_identical(*both_ways(calls, lambda: layer(x, (h, c) if given_states else None)))
    of_row = (h[:, 1].contiguous(), c[:, 1].contiguous()) if given_states else None
    row = x[:, 1].contiguous()
    assert_identical(*both_ways(calls, lambda: layer(row, of_row)))


@pytest.mark.parametrize("steps, rows", [(1, 3), (5, 1)])
def test_batch_first_where_it_is_the_same_memory(calls: Calls, steps: int, rows: int) -> None:
    layer = fastlstm.LSTM(I, H, 2, batch_first=True)
    x = torch.randn(rows, steps, I)
    states = tuple(torch.randn(2, 2, rows, H))
    assert_identical(*both_ways(calls, lambda: layer(x, states)))
    row = torch.randn(steps, I)  # `batch_first` says nothing about an input without a batch
    assert_identical(*both_ways(calls, lambda: layer(row)))


@pytest.mark.parametrize("rows", [(), (1,), (3,)])
def test_steps_and_cells(calls: Calls, rows: tuple[int, ...]) -> None:
    layer, cell = fastlstm.LSTM(I, H, 2, batch_first=True), fastlstm.LSTMCell(I, H)
    x = torch.randn(*rows, I)
    of_layer, of_cell = tuple(torch.randn(2, 2, *rows, H)), tuple(torch.randn(2, *rows, H))
    assert_identical(*both_ways(calls, lambda: layer.step(x)))
    assert_identical(*both_ways(calls, lambda: layer.step(x, of_layer)))
    assert_identical(*both_ways(calls, lambda: cell(x)))
    assert_identical(*both_ways(calls, lambda: cell(x, of_cell)))
    assert_identical(*both_ways(calls, lambda: cell(x, list(of_cell))))


def test_results_share_no_memory(calls: Calls) -> None:
    x = torch.randn(1, B, I)
    states = tuple(torch.randn(2, 1, B, H))
    output, (h_n, c_n) = fastlstm.LSTM(I, H)(x, states)
    h, c = fastlstm.LSTMCell(I, H)(x[0])
    assert calls.served == 2
    assert len({value.data_ptr() for value in (x, *states, output, h_n, c_n, h, c)}) == 8


def test_inference_mode(calls: Calls) -> None:
    layer, x = fastlstm.LSTM(I, H), torch.randn(T, B, I)
    expected, _ = layer(x)
    with torch.inference_mode():
        output, _ = layer(x)
    assert calls.served == 2 and output.is_inference() and torch.equal(output, expected)


def test_threads_change_nothing(calls: Calls) -> None:
    layer, x = fastlstm.LSTM(65, 130, 2), torch.randn(9, 33, 65)
    threads = torch.get_num_threads()
    results = []
    try:
        for number in (1, 2, 3):
            torch.set_num_threads(number)
            results.append(layer(x))
    finally:
        torch.set_num_threads(threads)
    assert calls.served == 3
    assert_identical(results[1], results[0])
    assert_identical(results[2], results[0])


@pytest.mark.parametrize(
    "switch",
    [
        {"peephole": True},
        {"layer_norm": True},
        {"coupled_gates": True},
        {"zoneout": 0.1},
        {"zoneout": (0.0, 0.1)},
        {"cell_clip": 0.1},
        {"residual": True},
        {"bidirectional": True},
        {"proj_size": 2},
        {"recurrent_dropout": 0.5},
        {"weight_dropout": 0.5},
        {"locked_dropout": 0.5},
        {"dropout": 0.5},
    ],
    ids=str,
)
def test_a_switch_goes_the_other_way(calls: Calls, switch: dict[str, Any]) -> None:
    layer, x = fastlstm.LSTM(I, H, 2, **switch), torch.randn(T, B, I)
    layer(x)
    assert calls.served == 0
    if next(iter(switch)).endswith("dropout"):  # no mask is drawn now
        assert_identical(*both_ways(calls, lambda: layer.eval()(x)))


@pytest.mark.parametrize(
    "switch", [{"peephole": True}, {"layer_norm": True}, {"zoneout": 0.1}, {"cell_clip": 0.1}]
)
def test_a_switch_of_a_cell_goes_the_other_way(calls: Calls, switch: dict[str, Any]) -> None:
    fastlstm.LSTMCell(I, H, **switch)(torch.randn(B, I))
    fastlstm.LSTMCell(I, H, coupled_gates=True)(torch.randn(B, I))
    assert calls.served == 0


def test_arguments_of_forward_go_the_other_way(calls: Calls) -> None:
    layer, x = fastlstm.LSTM(I, H), torch.randn(T, B, I)
    layer(x, lengths=torch.tensor([5, 2, 0]))
    layer(x, reset=torch.ones(T, B, dtype=torch.bool))
    with raises(
        ValueError, "reset_state is what reset= sets the state to; it was given without reset"
    ):
        layer(x, reset_state=tuple(torch.zeros(2, 1, B, H)))
    layer(torch.randn(B, T, I).transpose(0, 1))
    with fastlstm.backend("reference"):
        layer(x)
    assert calls.served == 0
    with fastlstm.backend("engine"):
        layer(x)
    assert calls.served == 1


def test_a_gradient_goes_the_other_way(calls: Calls) -> None:
    layer, x = fastlstm.LSTM(I, H), torch.randn(T, B, I)
    state = torch.zeros(1, B, H)
    with torch.enable_grad():
        assert layer(x)[0].requires_grad
        layer.requires_grad_(False)
        assert layer(x.clone().requires_grad_())[0].requires_grad
        assert layer(x, (state, state.clone().requires_grad_()))[0].requires_grad
        assert layer(x, (state.clone().requires_grad_(), state))[0].requires_grad
        assert calls.served == 0
        assert not layer(x)[0].requires_grad
    assert calls.served == 1


def test_every_way_to_change_the_weights_is_seen(calls: Calls) -> None:
    layer, x = fastlstm.LSTM(I, H), torch.randn(T, B, I)
    other = {name: torch.randn_like(value) for name, value in layer.named_parameters()}
    expected = torch.func.functional_call(layer, other, (x,))[0]
    assert calls.served == 1 and not torch.equal(layer(x)[0], expected)
    for name, value in other.items():
        setattr(layer, name, torch.nn.Parameter(value))
    assert torch.equal(layer(x)[0], expected)

    class Doubled(torch.nn.Module):
        def forward(self, value: Tensor) -> Tensor:
            return 2 * value

    doubled = torch.func.functional_call(
        layer, {**other, "weight_hh_l0": 2 * other["weight_hh_l0"]}, (x,)
    )[0]
    before = calls.served
    parametrize.register_parametrization(layer, "weight_hh_l0", Doubled())
    assert torch.equal(layer(x)[0], doubled) and calls.served == before


def test_a_layer_that_reads_its_weights_otherwise(calls: Calls) -> None:
    class Silent(fastlstm.LSTM):
        def layer_parameters(self) -> list[fastlstm.LayerParameters]:
            return [
                fastlstm.LayerParameters(*(torch.zeros_like(value) for value in layer[:4]))
                for layer in super().layer_parameters()
            ]

    class SilentCell(fastlstm.LSTMCell):
        def layer_parameters(self) -> fastlstm.LayerParameters:
            layer = super().layer_parameters()
            return fastlstm.LayerParameters(*(torch.zeros_like(value) for value in layer[:4]))

    class Derived(fastlstm.LSTM):
        pass

    assert not Silent(I, H)(torch.randn(T, B, I))[0].any()
    assert not SilentCell(I, H)(torch.randn(B, I))[0].any()
    assert calls.served == 0
    Derived(I, H)(torch.randn(T, B, I))
    assert calls.served == 1


@pytest.mark.parametrize(
    ("arguments", "kind", "message"), CALL_ERRORS, ids=[e[2][:30] for e in CALL_ERRORS]
)
def test_errors(calls: Calls, arguments: Any, kind: type[Exception], message: str) -> None:
    with raises(kind, message):
        fastlstm.LSTM(3, 5)(*arguments)
    assert calls.served == 0


@pytest.mark.parametrize(
    ("arguments", "kind", "message"), CELL_CALL_ERRORS, ids=[e[2] for e in CELL_CALL_ERRORS]
)
def test_errors_of_a_cell(
    calls: Calls, arguments: Any, kind: type[Exception], message: str
) -> None:
    with raises(kind, message):
        fastlstm.LSTMCell(3, 5)(*arguments)
    assert calls.served == 0


def test_half_a_state_is_an_error(calls: Calls) -> None:
    state = torch.zeros(1, B, H)
    for states in ((state, None), (None, state)):
        with pytest.raises(TypeError, match="hidden must be a pair of tensors"):
            fastlstm.LSTM(I, H)(torch.randn(T, B, I), states)
    assert calls.served == 0


GOOD = [torch.zeros(4 * H, I), torch.zeros(4 * H, H), torch.zeros(4 * H), torch.zeros(4 * H)]
THINGS = st.one_of(
    st.none(),
    st.sampled_from([1.0, "x", [], np.zeros((T, B, I), np.float32), torch.Tensor, object()]),
    st.builds(
        lambda shape, dtype, device: torch.zeros(shape, dtype=dtype, device=device),
        st.lists(st.sampled_from([0, 1, B, T, I, H, 4 * H]), max_size=4),
        st.sampled_from([torch.float32, torch.float64, torch.int64, torch.bool, torch.complex64]),
        st.sampled_from(["cpu", "cpu", "meta"]),
    ),
    st.sampled_from(
        [
            torch.zeros(B, T, I).transpose(0, 1),
            torch.zeros(1).expand(T, B, I),
            torch.zeros(T, B, I).to_sparse(),
            torch.zeros(T, B, I, requires_grad=True),
        ]
    ),
)


@settings(max_examples=1500, deadline=None)
@given(
    input=st.one_of(st.just(torch.zeros(T, B, I)), THINGS),
    h_0=st.one_of(st.just(torch.zeros(1, B, H)), THINGS),
    c_0=st.one_of(st.just(torch.zeros(1, B, H)), THINGS),
    replaced=st.dictionaries(st.integers(0, 3), THINGS, max_size=2),
    count=st.integers(0, 9),
    flags=st.tuples(*[st.booleans()] * 4),
)
def test_wrong_calls_of_the_engine(
    input: Any,
    h_0: Any,
    c_0: Any,
    replaced: dict[int, Any],
    count: int,
    flags: tuple[bool, bool, bool, bool],
) -> None:
    tensors = [replaced.get(index, value) for index, value in enumerate(GOOD)]
    tensors = (tensors * 3)[:count]
    result = _engine.plain_layers(input, h_0, c_0, tensors, *flags, 1)
    if result is None:
        return
    output = result[0] if flags[3] else None
    for value in (h_0, c_0):
        assert value is None or (isinstance(value, Tensor) and value.shape[-1] == H)
    assert isinstance(input, Tensor) and (output is None or output.shape[-1] == H)


def test_a_type_without_the_table() -> None:
    try:
        for other in (int, np.ndarray, 3):
            assert not _engine.learn_tensor_type(other)
        x = torch.zeros(T, B, I)
        assert _engine.plain_layers(x, None, None, GOOD, True, True, False, True, 1) is None
    finally:
        assert _engine.learn_tensor_type(torch.Tensor)
