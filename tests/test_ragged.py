"""``lengths=`` and ``PackedSequence``, against ``torch.nn.LSTM`` on packed batches."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

import fastlstm
from fastlstm.nn import inputs
from modules import (
    assert_close,
    assert_same,
    differentiated,
    double_lstm,
    is_real,
    lstm_twins,
    naive_lstm,
    raises,
    random_states,
)

T, I, H = 7, 3, 5  # noqa: E741
LENGTHS = [4, 7, 1, 5]
B = len(LENGTHS)

STACKS: list[dict[str, Any]] = [
    {},
    dict(bidirectional=True),
    dict(num_layers=3, proj_size=2),
    dict(num_layers=2, bidirectional=True, proj_size=3, bias=False),
    dict(num_layers=2, bidirectional=True, batch_first=True),
]
ALL_SWITCHES: dict[str, Any] = dict(
    peephole=True, layer_norm=True, coupled_gates=True, cell_clip=0.4, zoneout=0.2, residual=True
)


def a_batch(layer: Any) -> Tensor:
    shape = (B, T, I) if layer.batch_first else (T, B, I)
    return torch.randn(shape, dtype=torch.float64).requires_grad_()


def poisoned(x: Tensor, lengths: list[int], batch_first: bool = False) -> Tensor:
    """NaN in the first half of the features of the padding, infinity in the others."""
    real = is_real(T, lengths).unsqueeze(-1)
    real = real.transpose(0, 1) if batch_first else real
    bad = torch.tensor([torch.nan, torch.inf, -torch.inf], dtype=torch.float64)
    return torch.where(real, x.detach(), bad).requires_grad_()


def packed(x: Tensor, lengths: list[int], batch_first: bool = False) -> PackedSequence:
    return pack_padded_sequence(x, torch.tensor(lengths), batch_first, enforce_sorted=False)


@pytest.mark.parametrize("stack", STACKS, ids=str)
@pytest.mark.parametrize("with_states", [False, True])
@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_lengths_give_what_packing_gives(
    stack: dict[str, Any], with_states: bool, dtype: torch.dtype
) -> None:
    ours, theirs = lstm_twins(I, H, **stack)
    x = a_batch(ours)
    hx = random_states(theirs, B) if with_states else None
    inputs = (x, *(hx or ()))
    output, final = theirs(packed(x, LENGTHS, ours.batch_first), hx)
    output, _ = pad_packed_sequence(output, ours.batch_first, 0.0, T)
    lengths = torch.tensor(LENGTHS, dtype=dtype)
    bad = poisoned(x, LENGTHS, ours.batch_first)
    assert_same(
        differentiated(ours, ours(bad, hx, lengths=lengths), (bad, *(hx or ()))),
        differentiated(theirs, (output, final), inputs),
    )


@pytest.mark.parametrize("stack", STACKS, ids=str)
@pytest.mark.parametrize("with_states", [False, True])
@pytest.mark.parametrize("enforce_sorted", [False, True])
def test_packed_in_and_out(stack: dict[str, Any], with_states: bool, enforce_sorted: bool) -> None:
    ours, theirs = lstm_twins(I, H, **stack)
    x = a_batch(ours)
    lengths = sorted(LENGTHS, reverse=True) if enforce_sorted else LENGTHS
    hx = random_states(theirs, B) if with_states else None
    given = pack_padded_sequence(x, torch.tensor(lengths), ours.batch_first, enforce_sorted)
    found, expected = ours(given, hx), theirs(given, hx)
    for field in ("batch_sizes", "sorted_indices", "unsorted_indices"):
        mine, yours = getattr(found[0], field), getattr(expected[0], field)
        assert type(found[0]) is PackedSequence
        assert mine is yours is None if yours is None else torch.equal(mine, yours)
    inputs = (x, *(hx or ()))
    assert_same(differentiated(ours, found, inputs), differentiated(theirs, expected, inputs))


@pytest.mark.parametrize("stack", STACKS, ids=str)
def test_empty_rows_keep_their_initial_state(stack: dict[str, Any]) -> None:
    layer = double_lstm(I, H, **stack)
    x, hx = a_batch(layer), random_states(layer, B)
    lengths = [3, 0, 7, 0]
    x = poisoned(x, lengths, layer.batch_first)
    output, (h_n, c_n) = layer(x, hx, lengths=torch.tensor(lengths))
    rows = output if layer.batch_first else output.transpose(0, 1)
    assert not rows[[1, 3]].any()
    assert torch.equal(h_n[:, [1, 3]], hx[0][:, [1, 3]])
    assert torch.equal(c_n[:, [1, 3]], hx[1][:, [1, 3]])
    # The other rows do not see them.
    some = x[[0, 2]] if layer.batch_first else x[:, [0, 2]]
    alone = layer(some, (hx[0][:, [0, 2]], hx[1][:, [0, 2]]), lengths=torch.tensor([3, 7]))
    assert_close(rows[[0, 2]], alone[0] if layer.batch_first else alone[0].transpose(0, 1))
    d_x, d_h = torch.autograd.grad(output.sum() + 3 * h_n.sum(), (x, hx[0]))
    d_rows = d_x if layer.batch_first else d_x.transpose(0, 1)
    assert not d_rows[[1, 3]].any()
    assert bool((d_h[:, [1, 3]] == 3).all())


def test_all_rows_empty() -> None:
    layer = double_lstm(I, H, 2, bidirectional=True)
    x, hx = poisoned(a_batch(layer), [0] * B), random_states(layer, B)
    output, (h_n, c_n) = layer(x, hx, lengths=torch.zeros(B, dtype=torch.int64))
    assert not output.any()
    assert torch.equal(h_n, hx[0]) and torch.equal(c_n, hx[1])
    output.sum().backward()
    for value in (x, *layer.parameters()):
        assert value.grad is not None and not value.grad.any()


def test_full_lengths_are_no_lengths() -> None:
    layer = double_lstm(I, H, 2, bidirectional=True)
    x = a_batch(layer)
    lengths = torch.full((B,), T)
    found, expected = layer(x, lengths=lengths), layer(x)
    assert_same(differentiated(layer, found, (x,)), differentiated(layer, expected, (x,)))


@pytest.mark.parametrize("stack", STACKS, ids=str)
@pytest.mark.parametrize("lengths", [[7, 7, 3, 1], [0, 2, 7, 0], [1, 1, 1, 1], [0, 6, 5, 2]])
@pytest.mark.parametrize("every", [None, 1, 3])
def test_switches_on_ragged_batches(
    stack: dict[str, Any], lengths: list[int], every: int | None
) -> None:
    options = {**ALL_SWITCHES, **stack}
    options["residual"] = stack.get("num_layers", 1) > 1
    layer = double_lstm(I, H, checkpoint_every=every, **options).eval()
    x, hx = poisoned(a_batch(layer), lengths, layer.batch_first), random_states(layer, B)
    found = layer(x, hx, lengths=torch.tensor(lengths))
    expected = naive_lstm(layer, x.transpose(0, 1) if layer.batch_first else x, hx, lengths=lengths)
    output = expected.output.transpose(0, 1) if layer.batch_first else expected.output
    inputs = (x, *hx)
    assert_same(
        differentiated(layer, found, inputs),
        differentiated(layer, (output, (expected.h_n, expected.c_n)), inputs),
    )


def test_residual_of_the_first_layer_does_not_pass_padding_on() -> None:
    layer = double_lstm(I, I, residual=True)
    x = poisoned(a_batch(layer), LENGTHS)
    output, _ = layer(x, lengths=torch.tensor(LENGTHS))
    assert not output[~is_real(T, LENGTHS)].any()
    (d_x,) = torch.autograd.grad(output.sum(), x)
    assert d_x.isfinite().all()
    assert not d_x[~is_real(T, LENGTHS)].any()


@pytest.mark.parametrize("both", [False, True])
def test_training_with_chance_on_poisoned_batches(both: bool) -> None:
    layer = double_lstm(
        I, H, 2, bidirectional=both, **ALL_SWITCHES,
        dropout=0.2, recurrent_dropout=0.3, weight_dropout=0.3, locked_dropout=0.3,
    )  # fmt: skip
    x = poisoned(a_batch(layer), [3, 0, 7, 1])
    result = layer(x, lengths=torch.tensor([3, 0, 7, 1]))
    for value in differentiated(layer, result, (x,)).values():
        assert value.isfinite().all()
    assert not result[0][~is_real(T, [3, 0, 7, 1])].any()


def test_lengths_are_not_changed() -> None:
    layer = double_lstm(I, H, 2, bidirectional=True, checkpoint_every=2)
    lengths = torch.tensor(LENGTHS)
    layer(a_batch(layer), lengths=lengths)[0].sum().backward()
    assert lengths.tolist() == LENGTHS


@pytest.mark.parametrize(
    "dtype", [torch.int8, torch.int16, torch.int32, torch.uint8, torch.uint16], ids=str
)
@pytest.mark.parametrize("every", [None, 2])
def test_lengths_of_any_integer_dtype(dtype: torch.dtype, every: int | None) -> None:
    layer = double_lstm(I, H, 2, bidirectional=True, checkpoint_every=every)
    x, lengths = a_batch(layer), torch.tensor([7, 0, 1, 4])
    found, expected = layer(x, lengths=lengths.to(dtype)), layer(x, lengths=lengths)
    assert_same(differentiated(layer, found, (x,)), differentiated(layer, expected, (x,)))


GOOD = torch.tensor([4, 7, 1, 5])
RANGE = "lengths must be between 0 and the number of time steps 7, got "


@pytest.mark.parametrize(
    ("lengths", "kind", "message"),
    [
        ([4, 7, 1, 5], TypeError, "lengths must be an integer Tensor, got list"),
        (GOOD.double(), TypeError, "lengths must be of an integer dtype, got torch.float64"),
        (GOOD.bool(), TypeError, "lengths must be of an integer dtype, got torch.bool"),
        (GOOD + 0j, TypeError, "lengths must be of an integer dtype, got torch.complex64"),
        (
            GOOD[:3],
            ValueError,
            "lengths must have one value for each of the 4 rows, got shape [3]",
        ),
        (
            GOOD[:, None],
            ValueError,
            "lengths must have one value for each of the 4 rows, got shape [4, 1]",
        ),
        (torch.tensor(3), ValueError, "lengths must have one value for each of the 4 rows, "
         "got shape []"),
        (torch.tensor([1, 8, 9, 2]), ValueError, RANGE + "8 for row 1"),
        (torch.tensor([1, 2, 3, -1]), ValueError, RANGE + "-1 for row 3"),
        (
            GOOD.to("meta"),
            ValueError,
            "lengths must be on the CPU or on the input's device cpu, got meta",
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("batch_first", [False, True])
def test_errors(lengths: Any, kind: type[Exception], message: str, batch_first: bool) -> None:
    layer = fastlstm.LSTM(I, H, batch_first=batch_first)
    x = torch.zeros((B, T, I) if batch_first else (T, B, I))
    with raises(kind, message):
        layer(x, lengths=lengths)
    with raises(kind, message):
        layer.trace(x, lengths=lengths)


def test_errors_of_lengths_where_there_can_be_none() -> None:
    layer = fastlstm.LSTM(I, H)
    with raises(ValueError, "lengths are for batched 3-D input, got unbatched 2-D input"):
        layer(torch.zeros(T, I), lengths=torch.tensor([T]))
    with raises(ValueError, "lengths are for padded input; a PackedSequence brings its own"):
        layer(packed(torch.zeros(T, B, I), LENGTHS), lengths=GOOD)


def test_errors_of_packed_batches() -> None:
    layer = fastlstm.LSTM(I, H, batch_first=True)
    given = packed(torch.zeros(T, B, I), LENGTHS)
    states = torch.zeros(1, B, H)
    with raises(RuntimeError, "Expected hidden[0] size (1, 4, 5), got [1, 3, 5]"):
        layer(given, (states[:, :3], states))
    with raises(
        RuntimeError,
        "For batched 3-D input, hx and cx should also be 3-D but got (2-D, 2-D) tensors in hidden",
    ):
        layer(given, (states[0], states[0]))
    with raises(RuntimeError, "input.size(-1) must be equal to input_size. Expected 3, got 2"):
        layer(packed(torch.zeros(T, B, 2), LENGTHS))


def test_lengths_on_the_cpu_are_not_for_a_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, x = fastlstm.LSTM(3, 4, device="meta"), torch.zeros(5, 2, 3, device="meta")
    lengths = torch.tensor([5, 2])
    layer(x, lengths=lengths)
    monkeypatch.setattr(inputs, "_is_being_recorded", lambda x: True)
    layer(x, lengths=lengths.to("meta"))
    with pytest.raises(ValueError) as caught:
        layer(x, lengths=lengths)
    assert str(caught.value) == (
        "lengths must be on the input's device while a CUDA graph is recorded, since a graph reads "
        "the CPU's memory only when it is replayed; nor can a PackedSequence be recorded but by "
        "cudnn, got lengths on cpu"
    )
