"""``fastlstm.lstm`` and ``fastlstm.lstm_cell``: the modules with their parameters as arguments."""

import inspect
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence

import fastlstm
from fastlstm import LayerParameters
from layer_errors import CALL_ERRORS, CELL_CALL_ERRORS, SWITCH_ERRORS
from modules import assert_same, differentiated, double_lstm, raises, random_states, randomize_norms

T, B, I, H = 4, 2, 3, 5  # noqa: E741

SHAPED_BY_PARAMETERS = ("peephole", "layer_norm", "forget_bias")
LAYERS: list[dict[str, Any]] = [
    {},
    dict(num_layers=2, bidirectional=True),
    dict(num_layers=2, proj_size=2, bias=False, batch_first=True),
    dict(num_layers=2, peephole=True, layer_norm=True, coupled_gates=True, cell_clip=0.4),
    dict(num_layers=2, bidirectional=True, zoneout=(0.3, 0.1), residual=True, checkpoint_every=2),
    dict(
        num_layers=3, dropout=0.2, recurrent_dropout=0.3, weight_dropout=0.2, locked_dropout=0.4,
        zoneout=0.2, proj_size=3,
    ),
]  # fmt: skip


def options_of(layer: fastlstm.LSTM) -> dict[str, Any]:
    """The layer's configuration as ``fastlstm.lstm`` takes it."""
    names = set(inspect.signature(fastlstm.lstm).parameters) - {"input", "hx", "parameters"}
    return {name: getattr(layer, name) for name in names if hasattr(layer, name)}


def as_mappings(parameters: list[LayerParameters]) -> list[dict[str, Tensor]]:
    return [
        {name: value for name, value in layer._asdict().items() if value is not None}
        for layer in parameters
    ]


@pytest.mark.parametrize("layer_options", LAYERS, ids=str)
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("mappings", [False, True])
def test_same_as_the_module(layer_options: dict[str, Any], training: bool, mappings: bool) -> None:
    layer = double_lstm(I, H, **layer_options).train(training)
    x = torch.randn((B, T, I) if layer.batch_first else (T, B, I), dtype=torch.float64)
    inputs = (x.requires_grad_(), *random_states(layer, B), *random_states(layer, 1))
    reset = torch.rand(x.shape[:2]) < 0.3
    sequence: dict[str, Any] = dict(
        lengths=torch.tensor([3, 4]), reset=reset, reset_state=inputs[3:]
    )
    parameters: Any = layer.layer_parameters()
    if mappings:
        parameters = as_mappings(parameters)
    torch.manual_seed(4)
    found = fastlstm.lstm(x, inputs[1:3], parameters, **options_of(layer), **sequence)
    torch.manual_seed(4)
    expected = layer(x, inputs[1:3], **sequence)
    assert_same(differentiated(layer, found, inputs), differentiated(layer, expected, inputs))


def test_options_are_those_of_the_module() -> None:
    functional = inspect.signature(fastlstm.lstm).parameters
    module = inspect.signature(fastlstm.LSTM.__init__).parameters
    forward = inspect.signature(fastlstm.LSTM.forward).parameters
    for name, parameter in functional.items():
        theirs = module.get(name) or forward.get(name)
        if name in ("training", "parameters"):
            assert theirs is None
        elif name != "hx":
            assert theirs is not None and theirs.default == parameter.default
    keyword_only = {n for n, p in module.items() if p.kind is inspect.Parameter.KEYWORD_ONLY}
    assert keyword_only - set(functional) == set(SHAPED_BY_PARAMETERS)


def test_unbatched_and_packed() -> None:
    layer = double_lstm(I, H, 2, bidirectional=True)
    parameters = layer.layer_parameters()
    x = torch.randn(T, B, I, dtype=torch.float64)
    found, _ = fastlstm.lstm(x[:, 0], None, parameters, bidirectional=True)
    assert isinstance(found, Tensor)
    assert torch.equal(found, layer(x[:, 0])[0])
    packed = pack_padded_sequence(x, torch.tensor([2, 4]), enforce_sorted=False)
    output, _ = fastlstm.lstm(packed, None, parameters, bidirectional=True)
    assert torch.equal(output.data, layer(packed)[0].data)


def test_layer_parameters_are_the_modules_own() -> None:
    layer = double_lstm(I, H, 2, bidirectional=True, proj_size=2, peephole=True, layer_norm=True)
    parameters = layer.layer_parameters()
    assert len(parameters) == 4
    assert parameters[3].weight_hr is layer.weight_hr_l1_reverse
    assert parameters[1].norm_cell_bias is layer.norm_cell_bias_l0_reverse
    assert fastlstm.LSTM(I, H, bias=False).layer_parameters()[0].bias_ih is None


CELLS: list[dict[str, Any]] = [
    {},
    dict(bias=False),
    dict(peephole=True, layer_norm=True, coupled_gates=True, cell_clip=0.4),
    dict(zoneout=(0.3, 0.2)),
]


@pytest.mark.parametrize("options", CELLS, ids=str)
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("mapping", [False, True])
@pytest.mark.parametrize("batched", [False, True])
def test_cell_same_as_the_module(
    options: dict[str, Any], training: bool, mapping: bool, batched: bool
) -> None:
    cell = randomize_norms(fastlstm.LSTMCell(I, H, dtype=torch.float64, **options)).train(training)
    x = torch.randn((B, I) if batched else (I,), dtype=torch.float64)
    h, c = torch.randn(2, *x.shape[:-1], H, dtype=torch.float64)
    switches = {
        name: getattr(cell, name) for name in ("training", "coupled_gates", "zoneout", "cell_clip")
    }
    parameters: Any = cell.layer_parameters()
    if mapping:
        parameters = dict(cell.named_parameters())
    for hx in (None, (h, c)):
        torch.manual_seed(4)
        found = fastlstm.lstm_cell(x, hx, parameters, **switches)
        torch.manual_seed(4)
        expected = cell(x, hx)
        assert torch.equal(found[0], expected[0])
        assert torch.equal(found[1], expected[1])


def test_cell_with_a_projection() -> None:
    layer = double_lstm(I, H, proj_size=2)
    x, (h, c) = torch.randn(B, I, dtype=torch.float64), random_states(layer, B)
    found = fastlstm.lstm_cell(x, (h[0], c[0]), layer.layer_parameters()[0])
    _, expected = layer.step(x, (h, c))
    assert torch.equal(found[0], expected[0][0])
    assert torch.equal(found[1], expected[1][0])


PARAMETERS = fastlstm.LSTM(3, 5).layer_parameters()
NAMES = (
    "weight_ih, weight_hh, bias_ih, bias_hh, weight_hr, weight_peephole, norm_ih, norm_hh, "
    "norm_cell, norm_cell_bias"
)
DATA = torch.zeros(T, B, I)


@pytest.mark.parametrize(
    ("parameters", "kind", "message"),
    [
        ([], ValueError, "lstm: parameters must hold at least one layer, got none"),
        (
            [PARAMETERS[0], 3],
            TypeError,
            "lstm: a layer's parameters must be LayerParameters or a mapping of names to "
            "tensors, got int",
        ),
        (
            [{"weight_ih": PARAMETERS[0].weight_ih, "weight_xx": DATA, "bias": DATA}],
            ValueError,
            f"lstm: a layer's parameters are {NAMES}; unknown: ['bias', 'weight_xx'], missing: "
            "['weight_hh']",
        ),
        (
            [{}],
            ValueError,
            f"lstm: a layer's parameters are {NAMES}; unknown: [], missing: "
            "['weight_hh', 'weight_ih']",
        ),
        (
            [PARAMETERS[0]._replace(bias_ih=torch.zeros(7))],
            ValueError,
            "lstm: bias_ih of parameters[0] must have shape [20] (4 gates, hidden size 5), got [7]",
        ),
        (
            [PARAMETERS[0], PARAMETERS[0]],
            ValueError,
            "lstm: weight_ih of parameters[1] must have shape [20, 5] (4 gates, hidden size 5), "
            "got [20, 3]",
        ),
        (
            [PARAMETERS[0]._replace(norm_ih=torch.zeros(20))],
            ValueError,
            "scan: norm_ih, norm_hh, norm_cell are given together or not at all, got only norm_ih",
        ),
    ],
)
def test_errors_of_parameters(parameters: Any, kind: type[Exception], message: str) -> None:
    with raises(kind, message):
        fastlstm.lstm(DATA, None, parameters)


def test_errors_of_directions_and_residual() -> None:
    message = "lstm: with bidirectional=True parameters must hold two entries for each layer, got 1"
    with raises(ValueError, message):
        fastlstm.lstm(DATA, None, PARAMETERS, bidirectional=True)
    message = (
        "residual adds a layer's input to its output, so with one layer input_size must equal the "
        "output's width, got 3 and 5"
    )
    with raises(ValueError, message):
        fastlstm.lstm(DATA, None, PARAMETERS, residual=True)


FUNCTION_ERRORS = [error for error in SWITCH_ERRORS if error[0] not in SHAPED_BY_PARAMETERS]


@pytest.mark.parametrize(
    ("switch", "value", "kind", "message"), FUNCTION_ERRORS, ids=[e[0] for e in FUNCTION_ERRORS]
)
def test_errors_of_switches(switch: str, value: Any, kind: type[Exception], message: str) -> None:
    with raises(kind, message):
        fastlstm.lstm(DATA, None, PARAMETERS, **{switch: value})
    if switch in ("coupled_gates", "zoneout", "cell_clip"):
        with raises(kind, message):
            fastlstm.lstm_cell(DATA[0], None, PARAMETERS[0], **{switch: value})


def test_errors_of_dropout() -> None:
    with raises(ValueError, "dropout should be a number in range [0, 1], got 1.5"):
        fastlstm.lstm(DATA, None, PARAMETERS, dropout=1.5)


@pytest.mark.parametrize(
    ("arguments", "kind", "message"), CALL_ERRORS, ids=[e[2][:30] for e in CALL_ERRORS]
)
def test_errors_of_the_call(arguments: Any, kind: type[Exception], message: str) -> None:
    with raises(kind, message):
        fastlstm.lstm(*arguments, PARAMETERS)


@pytest.mark.parametrize(
    ("arguments", "kind", "message"), CELL_CALL_ERRORS, ids=[e[2][:40] for e in CELL_CALL_ERRORS]
)
def test_errors_of_the_cells_call(arguments: Any, kind: type[Exception], message: str) -> None:
    with raises(kind, message):
        fastlstm.lstm_cell(*arguments, PARAMETERS[0])
