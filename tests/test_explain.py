"""``fastlstm.explain`` and ``fastlstm.backend``."""

from typing import Any

import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence

import fastlstm
from fastlstm.ops import backends
from modules import raises

T, B, I, H = 4, 2, 3, 5  # noqa: E741
DATA = torch.zeros(T, B, I)
REFERENCE = "reference (the equations in plain PyTorch, one time step after another: any device)"
UNKNOWN = f"; there is: {', '.join(known.name for known in backends.BACKENDS)}, cudnn"


@pytest.fixture
def picky(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second back end, asked first, that serves the reference's numbers where H is not 5."""

    def refusal(arguments: Any) -> str | None:
        return "it does not like 5 units" if arguments.hidden_size == H else None

    first = backends.REFERENCE._replace(
        name="picky", description="serves many a layer", refusal=refusal
    )
    monkeypatch.setattr(backends, "BACKENDS", (first, backends.REFERENCE))


def test_one_line_for_each_layer_and_direction() -> None:
    with fastlstm.backend("reference"):
        found = fastlstm.explain(fastlstm.LSTM(I, H, 2, bidirectional=True, proj_size=2), DATA)
    assert str(found) == (
        "layer 0: reference (forced)\n"
        "layer 0, backward direction: reference (forced)\n"
        "layer 1: reference (forced)\n"
        "layer 1, backward direction: reference (forced)"
    )
    assert found.choices[3] == fastlstm.Choice(1, True, "reference", "forced")
    assert type(found) is fastlstm.Explanation


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("both", [False, True])
def test_every_kind_of_input(batch_first: bool, packed: bool, both: bool) -> None:
    layer = fastlstm.LSTM(I, H, 3, batch_first=batch_first, bidirectional=both)
    given: Any = torch.zeros(B, T, I) if batch_first else DATA
    if packed:
        given = pack_padded_sequence(given, torch.tensor([2, 4]), batch_first, enforce_sorted=False)
    found = fastlstm.explain(layer, given)
    assert [(choice.layer, choice.reverse) for choice in found.choices] == [
        (number, reverse) for number in range(3) for reverse in ([False, True] if both else [False])
    ]


def test_unbatched_input_and_cells() -> None:
    for layer, given in (
        (fastlstm.LSTM(I, H), DATA[:, 0]),
        (fastlstm.LSTMCell(I, H), DATA[0]),
        (fastlstm.LSTMCell(I, H), DATA[0, 0]),
    ):
        with fastlstm.backend("reference"):
            assert str(fastlstm.explain(layer, given)) == "layer 0: reference (forced)"


@pytest.mark.usefixtures("picky")
def test_reason_of_the_back_end_that_serves_and_of_those_that_refuse() -> None:
    assert (
        str(fastlstm.explain(fastlstm.LSTM(I, 7), DATA)) == "layer 0: picky (serves many a layer)"
    )
    expected = REFERENCE.replace("(", "(picky: it does not like 5 units; ")
    assert str(fastlstm.explain(fastlstm.LSTM(I, H), DATA)) == f"layer 0: {expected}"


@pytest.mark.usefixtures("picky")
def test_forced_back_end_that_cannot_serve_says_why() -> None:
    message = "the back end 'picky' cannot serve this call: it does not like 5 units"
    with fastlstm.backend("picky"):
        with raises(RuntimeError, message):
            fastlstm.explain(fastlstm.LSTM(I, H), DATA)
        with raises(RuntimeError, message):
            fastlstm.LSTM(I, H)(DATA)
        with raises(RuntimeError, message):
            fastlstm.LSTMCell(I, H)(DATA[0])
        assert fastlstm.LSTM(I, 7)(DATA)[0].shape == (T, B, 7)


@pytest.mark.usefixtures("picky")
def test_backward_pass_is_served_by_the_back_end_of_its_forward_pass(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    served: list[str] = []

    def watched(one: backends.Backend) -> backends.Backend:
        def scan_backward(*arguments: Any) -> Any:
            served.append(one.name)
            return one.scan_backward(*arguments)

        return one._replace(scan_backward=scan_backward)

    monkeypatch.setattr(backends, "BACKENDS", tuple(map(watched, backends.BACKENDS)))
    layer = fastlstm.LSTM(I, 7)
    with fastlstm.backend("reference"):
        output, _ = layer(DATA)
    output.sum().backward()
    layer(DATA)[0].sum().backward()
    assert served == ["reference", "picky"]


def test_unknown_name() -> None:
    with (
        raises(ValueError, "unknown back end 'metal'" + UNKNOWN),
        fastlstm.backend("metal"),
    ):
        raise AssertionError("the block must not run")
    assert backends.forced() == ""
    with raises(ValueError, "unknown back end ''" + UNKNOWN), fastlstm.backend(""):
        raise AssertionError("the block must not run")


@pytest.mark.usefixtures("picky")
def test_nesting_and_exceptions_restore_the_choice() -> None:
    assert backends.forced() == ""
    with fastlstm.backend("reference"):
        assert backends.forced() == "reference"
        with fastlstm.backend("picky"):
            assert backends.forced() == "picky"
        assert backends.forced() == "reference"
        with pytest.raises(KeyError), fastlstm.backend("picky"):
            raise KeyError
        assert backends.forced() == "reference"
    assert backends.forced() == ""


def test_explaining_runs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any) -> Any:
        raise AssertionError("explain must not run the layer")

    monkeypatch.setattr(
        backends, "BACKENDS", (backends.REFERENCE._replace(scan=fail, scan_backward=fail),)
    )
    state = torch.get_rng_state()
    layer = fastlstm.LSTM(I, H, 2, dropout=0.5, zoneout=0.5, weight_dropout=0.5)
    torch.set_rng_state(state)
    fastlstm.explain(layer, DATA)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("layer", "given", "kind", "message"),
    [
        (
            torch.nn.LSTM(I, H),
            DATA,
            TypeError,
            "explain: expected a fastlstm.LSTM or fastlstm.LSTMCell, got torch.nn.modules.rnn.LSTM",
        ),
        (
            fastlstm.LSTM(I, H),
            DATA[..., :2],
            RuntimeError,
            "input.size(-1) must be equal to input_size. Expected 3, got 2",
        ),
        (
            fastlstm.LSTM(I, H),
            [0.0],
            TypeError,
            "LSTM: Expected input to be a Tensor or a PackedSequence, got list",
        ),
        (
            fastlstm.LSTMCell(I, H),
            DATA,
            ValueError,
            "LSTMCell: Expected input to be 1D or 2D, got 3D instead, of shape [4, 2, 3]",
        ),
        (
            fastlstm.LSTMCell(I, H),
            pack_padded_sequence(DATA, torch.tensor([4, 2])),
            TypeError,
            "LSTMCell: Expected input to be a Tensor, got PackedSequence",
        ),
    ],
)
def test_errors(layer: Any, given: Any, kind: type[Exception], message: str) -> None:
    with raises(kind, message):
        fastlstm.explain(layer, given)
