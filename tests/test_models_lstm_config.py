"""The layer's configuration, and the standardisation of features."""

import dataclasses
import inspect
import json
from typing import Any

import pytest
import torch

import fastlstm
from fastlstm.models import LSTMConfig, ModelError, Standardise
from fastlstm.nn.switches import OFF

EVERYTHING: dict[str, Any] = {
    "hidden_size": 7,
    "num_layers": 2,
    "bidirectional": True,
    "dropout": 0.1,
    "proj_size": 3,
    "peephole": True,
    "layer_norm": True,
    "coupled_gates": True,
    "recurrent_dropout": 0.2,
    "weight_dropout": 0.3,
    "locked_dropout": 0.4,
    "zoneout": (0.5, 0.05),
    "cell_clip": 2.0,
    "residual": True,
    "forget_bias": 0.5,
    "checkpoint_every": 2,
}


def test_builds_the_layer_with_every_switch() -> None:
    layer = LSTMConfig(**EVERYTHING).build(5)
    assert type(layer) is fastlstm.LSTM
    assert layer.input_size == 5 and layer.batch_first
    assert {name: getattr(layer, name) for name in EVERYTHING} == EVERYTHING


def test_knows_every_switch_of_the_layer() -> None:
    names = {field.name for field in dataclasses.fields(LSTMConfig)}
    assert names >= OFF.keys()
    arguments = set(inspect.signature(fastlstm.LSTM.__init__).parameters)
    assert names == arguments - {"self", "input_size", "bias", "batch_first", "device", "dtype"}


def test_defaults_are_the_layers_but_for_an_open_forget_gate() -> None:
    layer, plain = LSTMConfig().build(5), fastlstm.LSTM(5, 128)
    assert {n: getattr(layer, n) for n in OFF} == OFF | {"forget_bias": 1.0}
    assert (layer.num_layers, layer.hidden_size) == (plain.num_layers, plain.hidden_size)
    assert (layer.bidirectional, layer.dropout, layer.proj_size) == (False, 0.0, 0)


@pytest.mark.parametrize("arguments", [{}, {"bidirectional": True}, EVERYTHING])
def test_output_size_is_the_width_of_the_output(arguments: dict[str, Any]) -> None:
    config = LSTMConfig(**arguments)
    output, _ = config.build(5)(torch.randn(2, 3, 5))
    assert output.shape == (2, 3, config.output_size)


def test_travels_as_json() -> None:
    config = LSTMConfig(**EVERYTHING)
    assert LSTMConfig(**json.loads(json.dumps(dataclasses.asdict(config)))) == config
    assert LSTMConfig(zoneout=0.1).zoneout == (0.1, 0.1)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"hidden_size": "7"}, TypeError, "hidden_size should be of type int, got: str"),
        ({"hidden_size": 0}, ValueError, "hidden_size must be greater than zero"),
        ({"zoneout": 2.0}, ValueError, "zoneout should be a number in range [0, 1], got 2.0"),
        ({"peephole": 1}, TypeError, "peephole should be of type bool, got: int"),
        ({"bidirectional": 1}, TypeError, "bidirectional should be of type bool, got: int"),
        ({"residual": 1}, TypeError, "residual should be of type bool, got: int"),
    ],
)
def test_refuses_what_the_layer_refuses(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as raised:
        LSTMConfig(**arguments)
    assert str(raised.value) == message


def test_a_residual_is_judged_with_the_input() -> None:
    config = LSTMConfig(hidden_size=7, residual=True)
    assert config.build(7).residual
    with pytest.raises(ValueError, match="with one layer input_size must equal"):
        config.build(5)


def test_a_dropout_without_a_place_is_warned_about_once_the_layer_is_built() -> None:
    config = LSTMConfig(dropout=0.1)
    with pytest.warns(UserWarning, match="dropout option adds dropout after all but last"):
        config.build(5)


def test_describing_a_layer_draws_no_random_numbers() -> None:
    state = torch.get_rng_state()
    LSTMConfig(**EVERYTHING)
    assert torch.equal(torch.get_rng_state(), state)


def test_standardises_each_feature() -> None:
    standardise = Standardise(3)
    x = torch.tensor([[1, 2, 3], [3, 2, 7]], dtype=torch.uint8)
    assert torch.equal(standardise(x), x.float())
    standardise.set_statistics(torch.tensor([2.0, 2.0, 5.0]), torch.tensor([1.0, 0.0, 4.0]))
    assert standardise(x).tolist() == [[-1.0, 0.0, -0.5], [1.0, 0.0, 0.5]]
    other = Standardise(3)
    other.load_state_dict(standardise.state_dict())
    assert torch.equal(other(x), standardise(x))
    assert repr(standardise) == "Standardise(3)"


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [
        (
            [0.0],
            [1.0, 1.0],
            "mean must have the shape [2], one value for each feature, got [1]",
        ),
        ([0.0, 0.0], [1.0, float("nan")], "std must be finite, got [1.0, nan]"),
        ([0.0, 0.0], [1.0, -1.0], "std must not be negative, got [1.0, -1.0]"),
    ],
)
def test_wrong_statistics_are_named(mean: list[float], std: list[float], message: str) -> None:
    with pytest.raises(ModelError) as error:
        Standardise(2).set_statistics(torch.tensor(mean), torch.tensor(std))
    assert str(error.value) == message
