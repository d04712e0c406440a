"""Switches as attributes of a layer that exists: checked when set, or fixed."""

import re
from typing import Any

import pytest
import torch

import fastlstm

LAYERS = [
    fastlstm.LSTM(3, 5),
    fastlstm.LSTMCell(3, 5),
    fastlstm.replace(torch.nn.LSTM(3, 5)),
    fastlstm.replace(torch.nn.LSTMCell(3, 5)),
]
ids = ["LSTM", "LSTMCell", "replaced LSTM", "replaced LSTMCell"]


@pytest.mark.parametrize("layer", LAYERS, ids=ids)
def test_a_rate_can_change_and_is_checked(layer: Any) -> None:
    layer.zoneout = 0.25
    assert layer.zoneout == (0.25, 0.25)
    layer(torch.zeros(2, 3))
    with pytest.raises(
        ValueError, match=re.escape("zoneout[1] should be a number in range [0, 1], got 2")
    ):
        layer.zoneout = (0, 2)
    with pytest.raises(
        ValueError, match="cell_clip should be a positive finite number or None, got -1"
    ):
        layer.cell_clip = -1
    assert (layer.zoneout, layer.cell_clip) == ((0.25, 0.25), None)


@pytest.mark.parametrize("name", ["peephole", "layer_norm", "coupled_gates"])
@pytest.mark.parametrize("layer", LAYERS, ids=ids)
def test_what_decides_the_parameters_cannot_change(layer: Any, name: str) -> None:
    message = (
        f"{name} decides which parameters the layer has and is fixed when it is made: "
        "it is False and cannot become True"
    )
    with pytest.raises(AttributeError, match=message):
        setattr(layer, name, True)
    setattr(layer, name, False)


def test_checkpoint_every_can_change() -> None:
    layer = fastlstm.LSTM(3, 5)
    layer.checkpoint_every = 7
    with pytest.raises(ValueError, match="checkpoint_every should be a positive int or None, got"):
        layer.checkpoint_every = 0
    assert layer.checkpoint_every == 7
