"""The back end "cudnn", on a stand-in for cuDNN's two operators: PyTorch's own LSTM on the CPU."""

from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_sequence

import cudnn_operators as operators
import fastlstm
from cudnn_operators import both
from fastlstm.nn import cudnn, packed
from fastlstm.nn.stack import Sequences
from fastlstm.ops import rules
from fastlstm.ops.backends import nothing_forced


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Have the CPU look like a GPU with cuDNN; which of the two operators were called."""
    with fastlstm.backend("cudnn"):
        yield operators.pretend(monkeypatch)


def gradients(layer: torch.nn.LSTM, x: Tensor, states: Sequence[Tensor]) -> list[Tensor]:
    output, (h_n, c_n) = layer(x, tuple(states))
    loss = (output**2).sum() + h_n.sin().sum() + (c_n * 0.3).exp().sum()
    found = torch.autograd.grad(loss, [x, *states, *layer.parameters()])
    return [output, h_n, c_n, *found]


KINDS = [
    {},
    {"bias": False},
    {"num_layers": 2, "bidirectional": True},
    {"num_layers": 2, "proj_size": 4, "bidirectional": True},
    {"num_layers": 2, "proj_size": 4, "bias": False},
    {"batch_first": True},
]


@pytest.mark.parametrize("options", KINDS, ids=str)
def test_as_nn_lstm(options: dict[str, Any], stand_in: list[str]) -> None:
    layer, expected, x = both(**options)
    scans, rows = (
        expected.num_layers * (1 + expected.bidirectional),
        4 if "batch_first" in options else 2,
    )
    width = expected.proj_size or 5
    states = [
        torch.randn(scans, rows, size, dtype=torch.float64, requires_grad=True)
        for size in (width, 5)
    ]
    torch.testing.assert_close(gradients(layer, x, states), gradients(expected, x, states))
    assert stand_in == ["forward", "backward"]
    with torch.no_grad():
        torch.testing.assert_close(layer(x), expected(x))


def packed_results(
    network: torch.nn.LSTM, rows: list[Tensor], is_sorted: bool, states: Tensor
) -> list[Any]:
    """Output, final states and first derivatives."""
    batch = pack_sequence(rows, enforce_sorted=is_sorted)
    output, (h_n, c_n) = network(batch, (states[0], states[1]))
    loss = (output.data**2).sum() + h_n.sin().sum() + c_n.exp().sum()
    slopes = torch.autograd.grad(loss, [*rows, *network.parameters()], create_graph=True)
    return [*output, h_n, c_n, *slopes]


@pytest.mark.parametrize("is_sorted", [True, False])
def test_a_packed_sequence(is_sorted: bool, stand_in: list[str]) -> None:
    layer, expected, _ = both(num_layers=2, bidirectional=True)
    lengths = [4, 3, 1] if is_sorted else [1, 4, 3]
    rows = [torch.randn(n, 3, dtype=torch.float64, requires_grad=True) for n in lengths]
    states = torch.randn(2, 4, 3, 5, dtype=torch.float64)
    found = packed_results(layer, rows, is_sorted, states)
    assert stand_in == ["forward"]
    torch.testing.assert_close(found, packed_results(expected, rows, is_sorted, states))
    of_rows = torch.autograd.grad([found[6]], rows, torch.ones_like(found[6]))
    with fastlstm.backend("reference"):
        reference = packed_results(layer, rows, is_sorted, states)
    of_reference = torch.autograd.grad([reference[6]], rows, torch.ones_like(found[6]))
    torch.testing.assert_close(of_rows, of_reference, rtol=1e-12, atol=1e-12)
    batch = pack_sequence(rows, enforce_sorted=is_sorted)
    assert {choice.backend for choice in fastlstm.explain(layer, batch).choices} == {"cudnn"}


@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("made_in", [torch.enable_grad, torch.inference_mode])
def test_the_parameters_stay_where_they_are(mode: Any, made_in: Any, stand_in: list[str]) -> None:
    with made_in():
        layer = fastlstm.LSTM(3, 5).requires_grad_(made_in is not torch.inference_mode)
        of_inference = layer.weight_hh_l0.is_inference()
        layer.weight_hh_l0.data = torch.zeros(20, 5)  # now they are not in cuDNN's order
    before = [(value.data_ptr(), of_inference or value._version) for value in layer.parameters()]
    with mode():
        output, _ = layer(torch.zeros(4, 2, 3))
    after = [(value.data_ptr(), of_inference or value._version) for value in layer.parameters()]
    assert after == before
    if output.requires_grad:
        output.sum().backward()
    assert stand_in


def test_one_step_is_not_its_own_unless_forced(
    stand_in: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cell, x = fastlstm.LSTMCell(3, 5), torch.zeros(2, 3)
    cell(x)
    assert stand_in == ["forward"]
    monkeypatch.setattr(cudnn, "forced", lambda: "")
    sequences = Sequences(x[None], (torch.zeros(1, 2, 5), torch.zeros(1, 2, 5)))
    found = cudnn.choose(sequences, [cell.layer_parameters()], 1, cell._switches, True)
    assert found == (False, "one step is left to our kernels, which want no weights in its order")


def test_nothing_is_padded_for_it(stand_in: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    layer, expected, _ = both()
    batch = pack_sequence([torch.randn(n, 3, dtype=torch.float64) for n in (4, 2, 2, 1)])
    outline, whole = packed.outline(batch), packed.unpack(batch)
    assert outline.input.shape == whole.input.shape
    assert outline.lengths.tolist() == whole.lengths.tolist()
    monkeypatch.setattr(packed, "unpack", None)
    torch.testing.assert_close(layer(batch)[0].data, expected(batch)[0].data)


def test_dropout_between_layers(stand_in: list[str]) -> None:
    layer, expected, x = both(num_layers=3, dropout=0.4, bidirectional=True)
    torch.manual_seed(3)
    found = layer(x)
    torch.manual_seed(3)
    torch.testing.assert_close(found, expected(x))
    assert stand_in == ["forward"] * 3
    torch.testing.assert_close(layer.eval()(x), expected.eval()(x))
    assert stand_in == ["forward"] * 4


def test_only_what_needs_a_gradient_gets_one(stand_in: list[str]) -> None:
    layer, _, x = both()
    layer.weight_hh_l0.requires_grad_(False)
    output, _ = layer(x)
    output.sum().backward()
    assert layer.weight_hh_l0.grad is None
    assert x.grad is not None and layer.weight_ih_l0.grad is not None


def test_a_graph_that_is_kept_can_be_run_twice(stand_in: list[str]) -> None:
    layer, _, x = both()
    loss = layer(x)[0].sum()
    (first,) = torch.autograd.grad(loss, x, retain_graph=True)
    (second,) = torch.autograd.grad(loss, x)
    torch.testing.assert_close(first, second)


def test_second_derivatives(stand_in: list[str]) -> None:
    layer, _, x = both(num_layers=2, bidirectional=True)
    parameters = list(layer.parameters())

    def penalty() -> list[Tensor]:
        output, (_, c_n) = layer(x)
        slope = torch.autograd.grad(output.sin().sum() + c_n.sum(), x, create_graph=True)[0]
        return list(torch.autograd.grad((slope**2).sum(), [x, *parameters]))

    found = penalty()
    with fastlstm.backend("reference"):
        torch.testing.assert_close(found, penalty(), rtol=1e-12, atol=1e-12)
    assert stand_in == ["forward", "backward"]


def test_autocast_casts_before_it(stand_in: list[str]) -> None:
    layer, _, x = both()
    layer = layer.float()
    with torch.autocast("cpu", torch.bfloat16):
        output, (h_n, c_n) = layer(x.float())
    assert {output.dtype, h_n.dtype, c_n.dtype} == {torch.bfloat16}
    output.sum().backward()
    assert layer.weight_hh_l0.grad is not None
    assert layer.weight_hh_l0.grad.dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        (choice,) = fastlstm.explain(layer, x.float()).choices
    assert choice.backend == "cudnn"


@pytest.mark.parametrize(
    ("options", "steps"), [({"layer_norm": True}, 4), ({}, 1)], ids=["unknown", "one step"]
)
def test_nothing_is_cast_for_what_it_refuses(
    options: dict[str, bool], steps: int, stand_in: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = fastlstm.LSTM(3, 5, **options)
    monkeypatch.setattr(cudnn, "forced", lambda: "")
    monkeypatch.setattr(cudnn, "is_asked", lambda x: True)
    monkeypatch.setattr(cudnn, "_cast", None)
    with nothing_forced(), torch.autocast("cpu", torch.bfloat16):
        layer(torch.zeros(steps, 2, 3))
    assert stand_in == []


def test_another_forced_one_is_not_asked_after(stand_in: list[str]) -> None:
    assert cudnn.is_asked(torch.zeros(4, 2, 3))
    with fastlstm.backend("reference"):
        assert not cudnn.is_asked(SimpleNamespace(device=torch.device("cuda")))  # type: ignore


def test_explain_on_a_device_without_autocast() -> None:
    layer = fastlstm.LSTM(3, 5, device="meta")
    (choice,) = fastlstm.explain(layer, torch.zeros(4, 2, 3, device="meta")).choices
    assert choice.backend != "cudnn"


@pytest.mark.parametrize(
    ("options", "given", "reason"),
    [
        ({"peephole": True}, {}, "it does not know weight_peephole"),
        ({"layer_norm": True}, {}, "it does not know norm_ih, norm_hh, norm_cell, norm_cell_bias"),
        ({"zoneout": 0.1, "cell_clip": 2.0}, {}, "it does not know cell_clip, zoneout"),
        ({"recurrent_dropout": 0.1}, {}, "it does not know recurrent_dropout"),
        ({}, {"lengths": torch.tensor([4, 2])}, "it knows neither lengths nor resets"),
        ({}, {"reset": torch.zeros(4, 2, dtype=torch.bool)}, "it knows neither lengths nor resets"),
    ],
    ids=str,
)
def test_what_it_refuses(
    options: dict[str, Any], given: dict[str, Any], reason: str, stand_in: list[str]
) -> None:
    layer = fastlstm.LSTM(3, 5, **options)
    with pytest.raises(RuntimeError, match=f"'cudnn' cannot serve this call: {reason}$"):
        layer(torch.zeros(4, 2, 3), **given)
    if "recurrent_dropout" in options:  # only in training
        layer.eval()(torch.zeros(4, 2, 3))


def test_it_serves_neither_traces_nor_transforms(stand_in: list[str]) -> None:
    layer = fastlstm.LSTM(3, 5)
    with pytest.raises(RuntimeError, match="it serves whole layers without traces"):
        layer.trace(torch.zeros(4, 2, 3))
    with pytest.raises(RuntimeError, match="a compiler, a transform, a mode or a subclass"):
        torch.func.grad(lambda x: layer(x)[0].sum())(torch.zeros(4, 2, 3))


def test_an_old_one_takes_no_bfloat16(stand_in: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    layer, x = fastlstm.LSTM(3, 5, dtype=torch.bfloat16), torch.zeros(4, 2, 3, dtype=torch.bfloat16)
    layer(x)
    assert stand_in == ["forward"]
    for name, value in (("version", 91_002), ("capability", (7, 5))):
        with monkeypatch.context() as context:
            if name == "version":
                context.setattr(torch.backends.cudnn, "version", lambda value=value: value)
            else:
                context.setattr(torch.cuda, "get_device_capability", lambda _, value=value: value)
            with pytest.raises(RuntimeError, match=r"does not take torch\.bfloat16 on cpu"):
                layer(x)


def test_deterministic_algorithms_are_not_its_own(stand_in: list[str]) -> None:
    torch.use_deterministic_algorithms(True)
    with pytest.raises(RuntimeError, match="deterministic algorithms are asked for"):
        fastlstm.LSTM(3, 5)(torch.zeros(4, 2, 3))


def test_parameters_that_do_not_fit(stand_in: list[str]) -> None:
    layer = fastlstm.LSTM(3, 5)
    wrong = {"weight_hh_l0": torch.zeros(20, 4)}
    with pytest.raises(RuntimeError, match="a parameter's shape, dtype or device does not fit"):
        torch.func.functional_call(layer, wrong, (torch.zeros(4, 2, 3),))


def test_without_a_gpu_it_says_so() -> None:
    layer = fastlstm.LSTM(3, 5)
    with fastlstm.backend("cudnn"), pytest.raises(RuntimeError) as caught:
        layer(torch.zeros(4, 2, 3))
    assert str(caught.value) == (
        "the back end 'cudnn' cannot serve this call: "
        "cuDNN is absent or turned off, or does not take torch.float32 on cpu"
    )


def test_explain(stand_in: list[str]) -> None:
    layer = fastlstm.LSTM(3, 5, bidirectional=True)
    found = fastlstm.explain(layer, torch.zeros(4, 2, 3))
    assert {choice.backend for choice in found.choices} == {"cudnn"}
    assert str(found).splitlines()[1] == "layer 0, backward direction: cudnn (forced)"


def test_a_measured_rule_decides(stand_in: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cudnn, "forced", lambda: "")
    layer = fastlstm.LSTM(3, 5)
    sequences = Sequences(torch.zeros(4, 2, 3), (torch.zeros(1, 2, 5), torch.zeros(1, 2, 5)))
    call = (sequences, layer.layer_parameters(), 1, layer._switches, True)
    assert cudnn.choose(*call).serves
    ours = rules.Rule("scan", (torch.float32,), True, rows=(1, 4), hidden=(5, 8), steps=(4, 9))
    monkeypatch.setattr(rules, "STACKS", (ours,))
    assert cudnn.choose(*call) == (False, "our own kernels were measured to be faster")
    packed = sequences._replace(input=torch.zeros(15, 3))  # of two rows
    assert cudnn.choose(packed, *call[1:]) == cudnn.choose(*call)
    longer = sequences._replace(input=torch.zeros(10, 2, 3))
    assert cudnn.choose(longer, *call[1:]).serves
    with torch.no_grad():
        assert cudnn.choose(*call).serves
