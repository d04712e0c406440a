"""``LSTM.trace`` (every gate and state) and ``LSTM.step`` (one time step)."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence

import fastlstm
from modules import (
    NaiveStep,
    assert_close,
    assert_same,
    differentiated,
    double_lstm,
    gradients,
    is_real,
    naive_lstm,
    raises,
    random_states,
)

T, B, I, H = 6, 3, 4, 5  # noqa: E741

STACKS: list[dict[str, Any]] = [
    {},
    dict(num_layers=2, bidirectional=True),
    dict(num_layers=3, proj_size=2, bias=False),
    dict(num_layers=2, bidirectional=True, proj_size=3),
]
SWITCHES: list[dict[str, Any]] = [
    {},
    dict(peephole=True),
    dict(layer_norm=True),
    dict(coupled_gates=True),
    dict(cell_clip=0.3),
    dict(zoneout=(0.3, 0.2)),
    dict(peephole=True, layer_norm=True, coupled_gates=True, cell_clip=0.5, zoneout=0.1),
]


def check_trace(layer: fastlstm.LSTM, lengths: list[int] | None = None) -> None:
    """Every traced value and its gradients against the naive loop."""
    layer.eval()
    x, hx = torch.randn(T, B, I, dtype=torch.float64).requires_grad_(), random_states(layer, B)
    given = x.transpose(0, 1) if layer.batch_first else x
    tensor = None if lengths is None else torch.tensor(lengths)
    found = layer.trace(given, hx, lengths=tensor)
    output, final = layer(given, hx, lengths=tensor)
    assert torch.equal(found.output, output)
    assert torch.equal(found.final[0], final[0])
    assert torch.equal(found.final[1], final[1])

    expected = naive_lstm(layer, x, hx, lengths=lengths)
    assert fastlstm.LayerTrace._fields == NaiveStep._fields
    values: dict[str, Tensor] = {}
    others: dict[str, Tensor] = {}
    for index, (mine, naive) in enumerate(zip(found.layers, expected.layers, strict=True)):
        for name, value, other in zip(mine._fields, mine, naive, strict=True):
            value = value.transpose(0, 1) if layer.batch_first else value
            if lengths is not None:
                assert not value[~is_real(T, lengths)].any()
            values[f"{name} {index}"], others[f"{name} {index}"] = value, other
    inputs = {"x": x, "h_0": hx[0], "c_0": hx[1], **dict(layer.named_parameters())}
    assert_same(
        {**values, **gradients(values.values(), inputs)},
        {**others, **gradients(others.values(), inputs)},
    )


@pytest.mark.parametrize("stack", STACKS, ids=str)
@pytest.mark.parametrize("switches", SWITCHES, ids=str)
def test_trace_and_its_gradients(stack: dict[str, Any], switches: dict[str, Any]) -> None:
    check_trace(double_lstm(I, H, **stack, **switches))


@pytest.mark.parametrize("switches", [SWITCHES[0], SWITCHES[-1]], ids=["plain", "switches"])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("lengths", [None, [2, 6, 0], [6, 1, 3]], ids=str)
def test_trace_of_ragged_batches(
    switches: dict[str, Any], batch_first: bool, lengths: list[int] | None
) -> None:
    check_trace(
        double_lstm(I, H, 2, bidirectional=True, batch_first=batch_first, **switches), lengths
    )


@pytest.mark.parametrize("every", [2, 100])
def test_trace_does_not_heed_checkpoints(every: int) -> None:
    check_trace(double_lstm(I, H, 2, checkpoint_every=every), [2, 6, 0])


@pytest.mark.parametrize("coupled", [False, True])
def test_gates_and_cells_pass_gradcheck(coupled: bool) -> None:
    layer = double_lstm(2, 3, 2, bidirectional=True, peephole=True, coupled_gates=coupled)

    def run(x: Tensor, h: Tensor, c: Tensor, *weights: Tensor) -> tuple[Tensor, ...]:
        named = dict(zip(dict(layer.named_parameters()), weights, strict=True))
        trace = torch.func.functional_call(Tracer(layer), prefixed(named), (x, h, c))
        return tuple(value for inside in trace.layers for value in inside)

    x = torch.randn(3, 2, 2, dtype=torch.float64).requires_grad_()
    inputs = (x, *random_states(layer, 2), *layer.parameters())
    assert torch.autograd.gradcheck(run, inputs, fast_mode=True)


class Tracer(torch.nn.Module):
    """Makes ``trace`` the ``forward`` that ``functional_call`` calls."""

    def __init__(self, layer: fastlstm.LSTM) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> fastlstm.Trace:
        return self.layer.trace(x, (h, c), lengths=torch.tensor([3, 2]))


def prefixed(values: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"layer.{name}": value for name, value in values.items()}


def test_hidden_is_the_output_and_coupled_gates_sum_to_one() -> None:
    layer = double_lstm(I, H, 2, bidirectional=True, coupled_gates=True)
    trace = layer.trace(torch.randn(T, B, I, dtype=torch.float64))
    _, _, forward, backward = trace.layers
    assert torch.equal(trace.output, torch.cat((forward.hidden, backward.hidden), dim=-1))
    assert torch.equal(trace.final[0][2:], torch.stack((forward.hidden[-1], backward.hidden[0])))
    assert torch.equal(trace.final[1][2:], torch.stack((forward.cell[-1], backward.cell[0])))
    for inside in trace.layers:
        assert_close(inside.input_gate + inside.forget_gate, torch.ones_like(inside.cell))


@pytest.mark.parametrize("batch_first", [False, True])
def test_trace_without_a_batch(batch_first: bool) -> None:
    layer = double_lstm(I, H, 2, bidirectional=True, proj_size=2, batch_first=batch_first)
    x, hx = torch.randn(T, I, dtype=torch.float64), random_states(layer, 1, batched=False)
    trace = layer.trace(x, hx)
    expected = naive_lstm(layer, x[:, None], (hx[0][:, None], hx[1][:, None]))
    assert_close(trace.output, expected.output[:, 0])
    assert_close(trace.final[1], expected.c_n[:, 0])
    for mine, naive in zip(trace.layers, expected.layers, strict=True):
        for value, other in zip(mine, naive, strict=True):
            assert_close(value, other[:, 0])


def test_trace_with_resets_and_without_gradients() -> None:
    layer = double_lstm(I, H, 2, bidirectional=True, residual=True)
    x, start = torch.randn(T, B, I, dtype=torch.float64), random_states(layer, 1)
    reset = torch.rand(T, B) < 0.4
    with torch.no_grad():
        trace = layer.trace(x, reset=reset, reset_state=start)
    expected = naive_lstm(layer, x, reset=reset, reset_state=start)
    assert_close(trace.output, expected.output)
    assert not trace.layers[0].cell.requires_grad
    assert_close(trace.layers[3].cell, expected.layers[3].cell)


def test_trace_draws_what_forward_draws() -> None:
    layer = double_lstm(I, H, 2, dropout=0.3, zoneout=0.2, recurrent_dropout=0.3)
    x = torch.randn(T, B, I, dtype=torch.float64)
    torch.manual_seed(4)
    traced = layer.trace(x).output
    torch.manual_seed(4)
    assert torch.equal(traced, layer(x)[0])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_trace_in_16_bits(dtype: torch.dtype) -> None:
    trace = fastlstm.LSTM(I, H, 2, dtype=dtype).trace(torch.randn(T, B, I, dtype=dtype))
    assert {value.dtype for inside in trace.layers for value in inside} == {dtype}
    assert_close(trace.layers[1].cell[-1], trace.final[1][1])


def test_trace_refuses_packed_batches() -> None:
    packed = pack_padded_sequence(torch.zeros(T, B, I), torch.tensor([6, 2, 1]))
    with raises(TypeError, "trace takes padded input and lengths=, got a PackedSequence"):
        fastlstm.LSTM(I, H).trace(packed)  # type: ignore[arg-type]
    with raises(RuntimeError, "input.size(-1) must be equal to input_size. Expected 4, got 2"):
        fastlstm.LSTM(I, H).trace(torch.zeros(T, B, 2))


STEPPED = [*SWITCHES, dict(residual=True, num_layers=2), dict(checkpoint_every=3, forget_bias=1.0)]


@pytest.mark.parametrize("switches", STEPPED, ids=str)
@pytest.mark.parametrize(
    "stack", [{}, dict(num_layers=2, proj_size=2), dict(num_layers=3, batch_first=True)], ids=str
)
@pytest.mark.parametrize("batched", [False, True])
@pytest.mark.parametrize("with_state", [False, True])
def test_steps_equal_the_sequence(
    switches: dict[str, Any], stack: dict[str, Any], batched: bool, with_state: bool
) -> None:
    layer = double_lstm(I, H, **{**stack, **switches}).eval()
    shape = (T, B, I) if batched else (T, I)
    x = torch.randn(shape, dtype=torch.float64).requires_grad_()
    hx = random_states(layer, B, batched) if with_state else None
    state, outputs = hx, []
    for x_t in x:
        y_t, state = layer.step(x_t, state)
        outputs.append(y_t)
    assert state is not None
    turned = layer.batch_first and batched
    output, final = layer(x.transpose(0, 1) if turned else x, hx)
    output = output.transpose(0, 1) if turned else output
    inputs = (x, *(hx or ()))
    assert_same(
        differentiated(layer, (torch.stack(outputs), state), inputs),
        differentiated(layer, (output, final), inputs),
    )


def test_step_with_zoneout_and_dropout_draws_new_masks() -> None:
    layer = double_lstm(I, 37, 2, zoneout=(0.5, 0.0), dropout=0.5)
    x, state = torch.randn(B, I, dtype=torch.float64), random_states(layer, B)
    kept = [layer.step(x, state)[1][1][0] == state[1][0] for _ in range(2)]
    assert not torch.equal(kept[0], kept[1])
    assert all(0.3 < one.double().mean() < 0.7 for one in kept)


def test_step_refuses_two_directions() -> None:
    with raises(RuntimeError, "step: a bidirectional LSTM needs the whole sequence, not one step"):
        fastlstm.LSTM(I, H, bidirectional=True).step(torch.zeros(B, I))


@pytest.mark.parametrize("name", ["recurrent_dropout", "weight_dropout", "locked_dropout"])
def test_step_refuses_masks_of_a_sequence_in_training(name: str) -> None:
    layer = fastlstm.LSTM(I, H, 2, **{name: 0.3})
    message = (
        f"step: {name} draws one mask for a whole sequence, which steps taken one by one cannot "
        "share; call .eval() or run the sequence through forward"
    )
    with raises(RuntimeError, message):
        layer.step(torch.zeros(B, I))
    assert layer.eval().step(torch.zeros(B, I))[0].shape == (B, H)


@pytest.mark.parametrize(
    ("x_t", "state", "kind", "message"),
    [
        (
            torch.zeros(1, B, I),
            None,
            ValueError,
            "step: x_t must be a 1-D or 2-D Tensor, (I) or (B, I), got 3-D",
        ),
        (
            torch.tensor(0.0),
            None,
            ValueError,
            "step: x_t must be a 1-D or 2-D Tensor, (I) or (B, I), got 0-D",
        ),
        (
            [0.0],
            None,
            ValueError,
            "step: x_t must be a 1-D or 2-D Tensor, (I) or (B, I), got list",
        ),
        (
            torch.zeros(B, 2),
            None,
            RuntimeError,
            "input.size(-1) must be equal to input_size. Expected 4, got 2",
        ),
        (
            torch.zeros(B, I),
            (torch.zeros(1, 2, H), torch.zeros(1, B, H)),
            RuntimeError,
            "Expected hidden[0] size (1, 3, 5), got [1, 2, 5]",
        ),
        (
            torch.zeros(B, I),
            torch.zeros(1, B, H),
            TypeError,
            "hidden must be a pair of tensors (h, c), got Tensor",
        ),
    ],
)
def test_errors_of_step(x_t: Any, state: Any, kind: type[Exception], message: str) -> None:
    with raises(kind, message):
        fastlstm.LSTM(I, H).step(x_t, state)
