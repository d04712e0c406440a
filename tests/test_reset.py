"""``reset=`` and ``reset_state=``: each segment runs as if it were alone."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence

import fastlstm
from modules import (
    States,
    assert_close,
    assert_same,
    differentiated,
    double_lstm,
    lstm_twins,
    naive_lstm,
    raises,
    random_states,
)

T, B, I, H = 7, 3, 4, 5  # noqa: E741

STACKS: list[dict[str, Any]] = [
    {},
    dict(bidirectional=True),
    dict(num_layers=2, proj_size=2, batch_first=True),
    dict(num_layers=3, bidirectional=True, bias=False),
]
SWITCHES: dict[str, Any] = dict(peephole=True, layer_norm=True, cell_clip=0.4, zoneout=0.2)
RESET = torch.tensor(
    [
        [False, True, False],
        [False, False, True],
        [True, False, False],
        [False, True, False],
        [False, True, False],
        [False, False, False],
        [True, False, False],
    ]
)  # (T, B)


def a_batch(layer: Any) -> Tensor:
    shape = (B, T, I) if layer.batch_first else (T, B, I)
    return torch.randn(shape, dtype=torch.float64).requires_grad_()


def check(layer: Any, reset_state: States | None, lengths: list[int] | None = None) -> None:
    """Against the naive LSTM: outputs and gradients, of the reset states too."""
    layer.eval()
    x, hx = a_batch(layer), random_states(layer, B)
    turned = layer.batch_first
    found = layer(
        x,
        hx,
        lengths=None if lengths is None else torch.tensor(lengths),
        reset=RESET.T if turned else RESET,
        reset_state=reset_state,
    )
    expected = naive_lstm(
        layer,
        x.transpose(0, 1) if turned else x,
        hx,
        lengths=lengths,
        reset=RESET,
        reset_state=reset_state,
    )
    output = expected.output.transpose(0, 1) if turned else expected.output
    inputs = (x, *hx, *(reset_state or ()))
    assert_same(
        differentiated(layer, found, inputs),
        differentiated(layer, (output, (expected.h_n, expected.c_n)), inputs),
    )


@pytest.mark.parametrize("stack", STACKS, ids=str)
@pytest.mark.parametrize("switches", [{}, SWITCHES], ids=["plain", "switches"])
@pytest.mark.parametrize("lengths", [None, [7, 4, 0], [2, 3, 5]], ids=str)
@pytest.mark.parametrize("rows_of_state", [None, 1, B])
def test_against_the_naive_lstm(
    stack: dict[str, Any],
    switches: dict[str, Any],
    lengths: list[int] | None,
    rows_of_state: int | None,
) -> None:
    layer = double_lstm(I, H, **stack, **switches)
    check(layer, None if rows_of_state is None else random_states(layer, rows_of_state), lengths)


@pytest.mark.parametrize("every", [1, 2, 3, 100])
def test_with_checkpoints(every: int) -> None:
    layer = double_lstm(I, H, 2, bidirectional=True, checkpoint_every=every, **SWITCHES)
    check(layer, random_states(layer, 1), [7, 4, 0])


@pytest.mark.parametrize("proj_size", [0, 2])
@pytest.mark.parametrize("with_state", [False, True])
def test_forward_segments_run_separately_in_pytorch(proj_size: int, with_state: bool) -> None:
    ours, theirs = lstm_twins(I, H, 2, proj_size=proj_size)
    x, hx = torch.randn(T, 1, I, dtype=torch.float64).requires_grad_(), random_states(ours, 1)
    start = random_states(ours, 1) if with_state else None
    reset = torch.zeros(T, 1, dtype=torch.bool)
    reset[[2, 5]] = True
    inputs = (x, *hx, *(start or ()))
    # In one stack both layers are reset at once, so that each segment is a run of its own.
    segments = [theirs(x[:2], hx), theirs(x[2:5], start), theirs(x[5:], start)]
    output = torch.cat([segment[0] for segment in segments])
    assert_same(
        differentiated(ours, ours(x, hx, reset=reset, reset_state=start), inputs),
        differentiated(theirs, (output, segments[-1][1]), inputs),
    )


def test_no_state_crosses_a_boundary_in_either_direction() -> None:
    ours, theirs = lstm_twins(I, H, 3, bidirectional=True)
    x, hx = torch.randn(T, 1, I, dtype=torch.float64).requires_grad_(), random_states(ours, 1)
    reset = torch.zeros(T, 1, dtype=torch.bool)
    reset[3] = True
    output, (h_n, c_n) = ours(x, hx, reset=reset)
    forward = torch.tensor([True, False] * 3)[:, None, None]
    first = tuple(torch.where(forward, state, 0.0) for state in hx)
    second = tuple(torch.where(forward, 0.0, state) for state in hx)
    before, after = theirs(x[:3], first), theirs(x[3:], second)
    assert_close(output, torch.cat((before[0], after[0])))
    assert_close(h_n, torch.where(forward, after[1][0], before[1][0]))
    assert_close(c_n, torch.where(forward, after[1][1], before[1][1]))
    (d_x,) = torch.autograd.grad(output[:3].sum(), x, retain_graph=True)
    assert d_x[:3].any() and not d_x[3:].any()
    (d_x,) = torch.autograd.grad(output[3:].sum(), x)
    assert d_x[3:].any() and not d_x[:3].any()


@pytest.mark.parametrize("both", [False, True])
def test_reset_before_the_first_step_replaces_the_initial_state(both: bool) -> None:
    layer = double_lstm(I, H, bidirectional=both)
    x, hx, start = a_batch(layer), random_states(layer, B), random_states(layer, B)
    reset = torch.zeros(T, B, dtype=torch.bool)
    reset[0] = True
    found = layer(x, hx, reset=reset, reset_state=start)
    # The backward direction ends at the first step: nothing comes after that boundary.
    forward = torch.tensor([True, False][: 1 + both])[:, None, None]
    mixed = tuple(torch.where(forward, new, old) for new, old in zip(start, hx, strict=True))
    assert_close(found[0], layer(x, mixed)[0])
    assert_close(found[1][1], layer(x, mixed)[1][1])


def test_reset_everywhere_and_nowhere() -> None:
    layer = double_lstm(I, H)
    x = a_batch(layer)
    everywhere = layer(x, reset=torch.ones(T, B, dtype=torch.bool))[0]
    alone = layer(x.reshape(1, T * B, I))[0].reshape(T, B, H)
    assert_close(everywhere, alone)
    assert torch.equal(layer(x, reset=torch.zeros(T, B, dtype=torch.bool))[0], layer(x)[0])


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("both", [False, True])
def test_unbatched(batch_first: bool, both: bool) -> None:
    layer = double_lstm(I, H, 2, batch_first=batch_first, bidirectional=both)
    x = torch.randn(T, I, dtype=torch.float64)
    hx, start = (random_states(layer, 1, batched=False) for _ in range(2))
    output, final = layer(x, hx, reset=RESET[:, 0], reset_state=start)
    expected = naive_lstm(
        layer,
        x[:, None],
        (hx[0][:, None], hx[1][:, None]),
        reset=RESET[:, :1],
        reset_state=(start[0][:, None], start[1][:, None]),
    )
    assert_close(output, expected.output[:, 0])
    assert_close(final[0], expected.h_n[:, 0])
    assert_close(final[1], expected.c_n[:, 0])


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("rows_of_state", [1, B])
def test_packed_batches_are_reset_in_the_users_order(both: bool, rows_of_state: int) -> None:
    layer = double_lstm(I, H, 2, bidirectional=both)
    lengths = torch.tensor([4, 7, 2])
    x, hx, start = a_batch(layer), random_states(layer, B), random_states(layer, rows_of_state)
    packed = pack_padded_sequence(x, lengths, enforce_sorted=False)
    found = layer(packed, hx, reset=RESET, reset_state=start)
    output, final = layer(x, hx, lengths=lengths, reset=RESET, reset_state=start)
    expected = pack_padded_sequence(output, lengths, enforce_sorted=False)
    inputs = (x, *hx, *start)
    assert_same(
        differentiated(layer, found, inputs), differentiated(layer, (expected, final), inputs)
    )


def test_resets_in_the_padding_do_nothing() -> None:
    layer = double_lstm(I, H, 2, bidirectional=True)
    x, hx, start = a_batch(layer), random_states(layer, B), random_states(layer, B)
    reset = torch.zeros(T, B, dtype=torch.bool)
    reset[4:] = True
    lengths = torch.tensor([4, 1, 0])
    found = layer(x, hx, lengths=lengths, reset=reset, reset_state=start)
    expected = layer(x, hx, lengths=lengths)
    inputs = (x, *hx, *start)
    assert_same(differentiated(layer, found, inputs), differentiated(layer, expected, inputs))


DATA = torch.zeros(T, B, I)
MASK = torch.zeros(T, B, dtype=torch.bool)
STATE = torch.zeros(1, B, H)


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        (dict(reset=[True]), TypeError, "reset must be a bool Tensor, got list"),
        (
            dict(reset=MASK.int()),
            TypeError,
            "reset must be of dtype torch.bool, got torch.int32",
        ),
        (
            dict(reset=MASK.T),
            ValueError,
            "reset must have the input's time and batch dimensions [7, 3], got shape [3, 7]",
        ),
        (
            dict(reset=MASK.to("meta")),
            ValueError,
            "reset must be on the input's device cpu, got meta",
        ),
        (
            dict(reset_state=(STATE, STATE)),
            ValueError,
            "reset_state is what reset= sets the state to; it was given without reset",
        ),
        (
            dict(reset=MASK, reset_state=STATE),
            TypeError,
            "reset_state must be a pair of tensors (h, c), got Tensor",
        ),
        (
            dict(reset=MASK, reset_state=(STATE[0], STATE)),
            RuntimeError,
            "For batched 3-D input, hx and cx should also be 3-D but got (2-D, 3-D) tensors in "
            "reset_state",
        ),
        (
            dict(reset=MASK, reset_state=(STATE, STATE[:, :2])),
            RuntimeError,
            "Expected reset_state[1] size (1, 3, 5), got [1, 2, 5]",
        ),
        (
            dict(reset=MASK, reset_state=(STATE.double(), STATE)),
            RuntimeError,
            "Input and hidden tensors must have the same dtype, found input of torch.float32 and "
            "reset_state[0] of torch.float64",
        ),
        (
            dict(reset=MASK, reset_state=(STATE, STATE.to("meta"))),
            RuntimeError,
            "Input and hidden tensors are not at the same device, found input tensor at cpu and "
            "reset_state[1] at meta",
        ),
    ],
)
def test_errors(options: dict[str, Any], kind: type[Exception], message: str) -> None:
    layer = fastlstm.LSTM(I, H)
    with raises(kind, message):
        layer(DATA, **options)
    with raises(kind, message):
        layer.trace(DATA, **options)


def test_errors_name_the_users_layout() -> None:
    layer = fastlstm.LSTM(I, H, batch_first=True)
    with raises(
        ValueError,
        "reset must have the input's time and batch dimensions [3, 7], got shape [7, 3]",
    ):
        layer(DATA.transpose(0, 1), reset=MASK)
    with raises(
        ValueError, "reset must have the input's time and batch dimensions [7], got shape [7, 1]"
    ):
        layer(DATA[:, 0], reset=MASK[:, :1])
