"""How much memory a forward pass keeps for the backward pass, beside ``torch.nn.LSTM``."""

import pytest
import torch
from torch import Tensor

import fastlstm

STEPS, ROWS, SIZE = 1000, 4, 32


def saved_bytes(layer: torch.nn.LSTM) -> int:
    """The memory that is kept, but for the parameters and the input."""
    x = torch.randn(STEPS, ROWS, SIZE)
    known = {value.untyped_storage().data_ptr() for value in (x, *layer.parameters())}
    kept: dict[int, int] = {}

    def pack(value: Tensor) -> Tensor:
        storage = value.untyped_storage()
        if storage.data_ptr() not in known:
            kept[storage.data_ptr()] = storage.nbytes()
        return value

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
        output, _ = layer(x)
    assert output.requires_grad
    return sum(kept.values())


@pytest.fixture(scope="module")
def of_torch() -> int:
    return saved_bytes(torch.nn.LSTM(SIZE, SIZE))


def test_no_more_than_torch(of_torch: int) -> None:
    # Gates and cells, and the outputs, which the caller has anyway.
    expected = 4 * STEPS * ROWS * 6 * SIZE
    found = saved_bytes(fastlstm.LSTM(SIZE, SIZE))
    assert expected <= found <= 1.02 * expected
    assert found <= of_torch


def test_checkpoints_keep_less_than_a_quarter(of_torch: int) -> None:
    found = saved_bytes(fastlstm.LSTM(SIZE, SIZE, checkpoint_every=round(STEPS**0.5)))
    assert 0 < found <= of_torch / 4


def test_nothing_is_kept_without_gradients() -> None:
    layer = fastlstm.LSTM(SIZE, SIZE).requires_grad_(False)
    assert not layer(torch.randn(3, ROWS, SIZE))[0].requires_grad
