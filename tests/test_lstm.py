"""``fastlstm.LSTM`` against ``torch.nn.LSTM``: the same numbers and the same habits."""

import copy
import io
import itertools
import pickle
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor

import fastlstm
from layer_errors import CALL_ERRORS, SWITCH_ERRORS
from modules import (
    assert_close,
    assert_same,
    differentiated,
    double_lstm,
    lstm_twins,
    raises,
    random_states,
)

I, H, T, B = 3, 5, 4, 2  # noqa: E741
OPTIONS: list[dict[str, Any]] = [
    dict(num_layers=layers, bidirectional=both, bias=bias, batch_first=batch_first, proj_size=proj)
    for layers, both, bias, batch_first, proj in itertools.product(
        (1, 2, 3), (False, True), (False, True), (False, True), (0, 2)
    )
]


def name_of(options: dict[str, Any]) -> str:
    return "-".join(f"{name}={value}" for name, value in options.items() if value)


def an_input(batched: bool, batch_first: bool, rows: int = B, dtype: Any = torch.float64) -> Tensor:
    shape = (rows, T, I) if batch_first else (T, rows, I)
    return torch.randn(shape if batched else (T, I), dtype=dtype).requires_grad_()


@pytest.mark.parametrize("options", OPTIONS, ids=name_of)
@pytest.mark.parametrize("batched", [True, False], ids=["3d", "2d"])
@pytest.mark.parametrize("with_states", [True, False], ids=["states", "zeros"])
def test_same_numbers_and_gradients(
    options: dict[str, Any], batched: bool, with_states: bool
) -> None:
    ours, theirs = lstm_twins(I, H, **options)
    x = an_input(batched, options["batch_first"])
    hx = random_states(theirs, B, batched) if with_states else None
    inputs = (x, *(hx or ()))
    assert_same(
        differentiated(ours, ours(x, hx), inputs), differentiated(theirs, theirs(x, hx), inputs)
    )


@pytest.mark.parametrize("options", OPTIONS, ids=name_of)
def test_same_parameters_from_the_same_seed(options: dict[str, Any]) -> None:
    torch.manual_seed(7)
    ours = fastlstm.LSTM(I, H, **options)
    after_ours = torch.rand(())
    torch.manual_seed(7)
    theirs = torch.nn.LSTM(I, H, **options)
    after_theirs = torch.rand(())
    assert isinstance(ours, torch.nn.LSTM)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for mine, yours in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        assert mine[0] == yours[0]
        assert torch.equal(mine[1], yours[1])
    assert torch.equal(after_ours, after_theirs)
    torch.manual_seed(8)
    ours.reset_parameters()
    torch.manual_seed(8)
    theirs.reset_parameters()
    for name, value in ours.state_dict().items():
        assert torch.equal(value, theirs.state_dict()[name])
    shapes = [[tuple(p.shape) for p in layer] for layer in ours.all_weights]
    assert shapes == [[tuple(p.shape) for p in layer] for layer in theirs.all_weights]


def test_state_dict_both_ways() -> None:
    theirs = torch.nn.LSTM(I, H, 2, bidirectional=True, proj_size=2)
    ours = fastlstm.LSTM(I, H, 2, bidirectional=True, proj_size=2)
    assert not torch.equal(ours.weight_hh_l1, theirs.weight_hh_l1)
    theirs.load_state_dict(ours.state_dict(), strict=True)
    assert torch.equal(ours.weight_hh_l1, theirs.weight_hh_l1)
    ours.reset_parameters()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    assert torch.equal(ours.weight_hh_l1, theirs.weight_hh_l1)


@pytest.mark.parametrize(
    ("switch", "value", "kind", "message"), SWITCH_ERRORS, ids=[e[0] for e in SWITCH_ERRORS]
)
def test_errors_of_switches(switch: str, value: Any, kind: type[Exception], message: str) -> None:
    with raises(kind, message):
        fastlstm.LSTM(I, H, 2, **{switch: value})


def test_errors_of_switches_that_do_not_fit_the_sizes() -> None:
    with raises(ValueError, "forget_bias=1.0 sets a bias, but bias=False"):
        fastlstm.LSTM(I, H, bias=False, forget_bias=1.0)
    for width, options in ((5, {}), (10, dict(bidirectional=True)), (2, dict(proj_size=2))):
        expected = (
            "residual adds a layer's input to its output, so with one layer input_size must equal "
            f"the output's width, got 3 and {width}"
        )
        with raises(ValueError, expected):
            fastlstm.LSTM(I, H, residual=True, **options)
    fastlstm.LSTM(I, H, 2, residual=True)
    fastlstm.LSTM(I, H, residual=True, proj_size=3)


@pytest.mark.parametrize("options", OPTIONS[:16:3], ids=name_of)
@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_same_representation(options: dict[str, Any], dropout: float) -> None:
    options = {**options, "num_layers": 2, "dropout": dropout}
    assert repr(fastlstm.LSTM(I, H, **options)) == repr(torch.nn.LSTM(I, H, **options))


def test_representation_shows_what_is_on() -> None:
    layer = fastlstm.LSTM(
        I, H, 2, batch_first=True, peephole=True, zoneout=0.1, cell_clip=3, checkpoint_every=7
    )
    assert repr(layer) == (
        "LSTM(3, 5, num_layers=2, batch_first=True, peephole=True, zoneout=(0.1, 0.1), "
        "cell_clip=3.0, checkpoint_every=7)"
    )


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("dropout", [0.3, 1.0])
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-6)], ids=str
)
def test_same_dropout_from_the_same_seed(
    both: bool, batch_first: bool, dropout: float, dtype: torch.dtype, tolerance: float
) -> None:
    ours, theirs = lstm_twins(
        I, H, 3, dtype=dtype, dropout=dropout, bidirectional=both, batch_first=batch_first
    )
    x = an_input(True, batch_first, dtype=dtype)

    def run(layer: torch.nn.Module) -> dict[str, Tensor]:
        torch.manual_seed(11)
        return differentiated(layer, layer(x), (x,))

    assert_same(run(ours), run(theirs), tolerance)
    assert torch.equal(run(ours)["output"], run(ours)["output"])
    assert torch.equal(ours(x)[0], ours(x)[0]) == (dropout == 1.0)
    assert_close(ours.eval()(x)[0], theirs.eval()(x)[0], tolerance)


SWITCHED = dict(num_layers=2, peephole=True, layer_norm=True, zoneout=(0.2, 0.1), cell_clip=1.5)


def copies(layer: fastlstm.LSTM) -> list[fastlstm.LSTM]:
    stream = io.BytesIO()
    torch.save(layer, stream)
    stream.seek(0)
    return [
        pickle.loads(pickle.dumps(layer)),
        copy.deepcopy(layer),
        torch.load(stream, weights_only=False),
    ]


@pytest.mark.parametrize("switches", [{}, SWITCHED])
def test_copies_are_independent_and_equal(switches: dict[str, Any]) -> None:
    layer = double_lstm(I, H, **switches).eval()
    x = an_input(True, False)
    expected = layer(x)[0].detach()
    for other in copies(layer):
        assert type(other) is fastlstm.LSTM
        assert repr(other) == repr(layer)
        assert other.training is False
        assert torch.equal(other(x)[0], expected)
        with torch.no_grad():
            other.weight_hh_l0.add_(1.0)
        assert not torch.equal(other(x)[0], expected)
        assert torch.equal(layer(x)[0], expected)


@pytest.mark.parametrize("switches", [{}, SWITCHED])
def test_state_dict_file_without_code(switches: dict[str, Any]) -> None:
    layer, other = (double_lstm(I, H, **switches).eval() for _ in range(2))
    stream = io.BytesIO()
    torch.save(layer.state_dict(), stream)
    stream.seek(0)
    other.load_state_dict(torch.load(stream, weights_only=True), strict=True)
    x = an_input(True, False)
    assert torch.equal(layer(x)[0], other(x)[0])


def test_flatten_parameters_is_harmless() -> None:
    layer = double_lstm(I, H, 2)
    before = {name: p.data_ptr() for name, p in layer.named_parameters()}
    assert layer.flatten_parameters() is None
    assert {name: p.data_ptr() for name, p in layer.named_parameters()} == before


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("switches", [{}, SWITCHED])
def test_change_of_dtype(dtype: torch.dtype, switches: dict[str, Any]) -> None:
    layer = fastlstm.LSTM(I, H, **switches)
    method = {torch.float16: layer.half, torch.bfloat16: layer.bfloat16}.get(dtype)
    assert (method() if method else layer.to(dtype)) is layer
    x = an_input(True, False, dtype=dtype)
    output, (h_n, c_n) = layer(x)
    assert {value.dtype for value in (output, h_n, c_n)} == {dtype}
    (output.sum() + c_n.sum()).backward()
    for value in (x, *layer.parameters()):
        assert value.grad is not None
        assert value.grad.dtype == dtype
        assert value.grad.isfinite().all()


@pytest.mark.parametrize(
    ("steps", "rows", "features", "hidden", "options"),
    [
        (1, 1, 3, 5, {}),
        (13, 6, 9, 17, {}),
        (50, 3, 7, 33, {}),
        (23, 11, 5, 19, dict(num_layers=2, bidirectional=True)),
        (17, 5, 11, 31, dict(proj_size=7)),
        (101, 2, 3, 13, dict(bias=False, batch_first=True)),
    ],
)
def test_float32_is_as_exact_as_pytorch(
    steps: int, rows: int, features: int, hidden: int, options: dict[str, Any]
) -> None:
    def run(layer: Any, dtype: torch.dtype) -> dict[str, Tensor]:
        inputs = [value.detach().to(dtype).requires_grad_() for value in (x, *hx)]
        layer = layer.to(dtype)
        found = differentiated(layer, layer(inputs[0], (inputs[1], inputs[2])), inputs)
        return {name: value.detach().double() for name, value in found.items()}

    errors: dict[str, list[Tensor]] = {}
    for _ in range(5):
        ours, theirs = lstm_twins(features, hidden, dtype=torch.float32, **options)
        shape = (rows, steps) if options.get("batch_first") else (steps, rows)
        x, hx = torch.randn(*shape, features), random_states(theirs, rows)
        found, peer = run(ours, torch.float32), run(theirs, torch.float32)
        for name, exact in run(theirs, torch.float64).items():
            pair = torch.stack((found[name] - exact, peer[name] - exact)).flatten(1)
            errors.setdefault(name, []).append(pair)
    for name, pairs in errors.items():
        mine, yours = torch.cat(pairs, dim=1)
        assert mine.square().mean().sqrt() <= 2 * yours.square().mean().sqrt(), name
        # The largest of a few hundred errors is itself random: a bound on outliers.
        assert mine.abs().max() <= 4 * yours.abs().max(), name


def test_bfloat16_output_is_close() -> None:
    layer = double_lstm(I, 37, 2)
    x = torch.randn(9, B, I, dtype=torch.float64).bfloat16()
    low = copy.deepcopy(layer).bfloat16()
    layer.load_state_dict({name: p.double() for name, p in low.state_dict().items()})
    exact = layer(x.double())
    found = low(x)
    for mine, expected in ((found[0], exact[0]), *zip(found[1], exact[1], strict=True)):
        # bfloat16 has 8 significant bits: a unit in the last place below 1 is 2 ** -8.
        assert (mine.double() - expected).abs().max() < 2**-7


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_16_bit_cell_state_accumulates_in_float32(dtype: torch.dtype) -> None:
    # i and f are 1, g is tanh(0.003): in bfloat16 a sum of such steps stands still at 1.
    layer = fastlstm.LSTM(1, 3, dtype=torch.float64)
    steps = 701
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
        layer.bias_ih_l0[:6] = 30.0
        layer.bias_ih_l0[6:9] = 0.003
        layer.to(dtype)
        _, (_, c_n) = layer(torch.zeros(steps, 1, 1, dtype=dtype))
        increment = torch.tanh(layer.bias_ih_l0[6].double())
    assert c_n.dtype == dtype
    torch.testing.assert_close(
        c_n.double(), (steps * increment).expand(1, 1, 3), rtol=2**-8, atol=0.0
    )


@pytest.mark.parametrize("batch_first", [False, True])
def test_empty_batch(batch_first: bool) -> None:
    layer = double_lstm(I, H, 2, bidirectional=True, batch_first=batch_first)
    x = an_input(True, batch_first, rows=0)
    output, (h_n, c_n) = layer(x)
    assert output.shape == ((0, T, 2 * H) if batch_first else (T, 0, 2 * H))
    assert h_n.shape == c_n.shape == (4, 0, H)
    output.sum().backward()
    assert x.grad is not None and x.grad.shape == x.shape
    assert all(p.grad is not None and not p.grad.any() for p in layer.parameters())


def test_tensors_of_any_stride() -> None:
    layer = double_lstm(I, H, 2, bidirectional=True)
    x = torch.randn(I, 2 * B, T, dtype=torch.float64)[:, ::2].permute(2, 1, 0)
    hx = tuple(torch.randn(H, B, 4, dtype=torch.float64).permute(2, 1, 0) for _ in range(2))
    assert not x.is_contiguous() and not hx[0].is_contiguous()
    expected = layer(x.contiguous(), tuple(state.contiguous() for state in hx))
    found = layer(x, hx)
    assert_close(found[0], expected[0])
    assert_close(found[1][1], expected[1][1])
    one_row = torch.randn(T, 1, I, dtype=torch.float64).expand(T, B, I)
    assert_close(layer(one_row)[0], layer(one_row.clone())[0])


def test_meta_device() -> None:
    layer = fastlstm.LSTM(I, H, 2, bidirectional=True, peephole=True, device="meta")
    x = torch.empty(T, B, I, device="meta", requires_grad=True)
    output, (h_n, c_n) = layer(x, lengths=torch.tensor([T, 1]))
    assert output.shape == (T, B, 2 * H)
    assert h_n.shape == c_n.shape == (4, B, H)
    assert {value.device.type for value in (output, h_n, c_n)} == {"meta"}
    output.sum().backward()
    assert x.grad is not None and x.grad.shape == x.shape
    layer.to_empty(device="cpu")
    layer.reset_parameters()
    assert layer(torch.zeros(T, B, I))[0].isfinite().all()


def test_no_gradient_where_none_is_asked() -> None:
    layer = double_lstm(I, H)
    x = an_input(True, False).detach()
    with torch.no_grad():
        assert not layer(x)[0].requires_grad
    layer.requires_grad_(False)
    layer.bias_hh_l0.requires_grad_(True)
    layer(x)[0].sum().backward()
    assert [name for name, p in layer.named_parameters() if p.grad is not None] == ["bias_hh_l0"]


def test_warnings_of_dropout_in_one_layer() -> None:
    with pytest.warns(UserWarning, match="dropout option adds dropout after all but last"):
        fastlstm.LSTM(I, H, dropout=0.5)
    expected = (
        r"^locked_dropout adds dropout after all but the last layer, so a non-zero value expects "
        r"num_layers greater than 1, but got locked_dropout=0\.5 and num_layers=1$"
    )
    with pytest.warns(UserWarning, match=expected) as caught:
        fastlstm.LSTM(I, H, locked_dropout=0.5)
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fastlstm.LSTM(I, H, 2, dropout=0.5, locked_dropout=0.5)


@pytest.mark.parametrize(
    ("arguments", "kind", "message"), CALL_ERRORS, ids=[e[2][:30] for e in CALL_ERRORS]
)
def test_errors_of_the_call(arguments: Any, kind: type[Exception], message: str) -> None:
    with raises(kind, message):
        fastlstm.LSTM(3, 5)(*arguments)
