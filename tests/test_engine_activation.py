"""The engine's sigmoid and tanh by units in the last place, over the whole range of floats."""

import os
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from fastlstm import _engine

MOST = 2.0  # units in the last place


def activation(name: str, x: Tensor) -> Tensor:
    result = torch.full_like(x, 3.0)
    _engine.activation(name, x.numpy(), result.numpy())
    return result


def error_in_ulps(found: Tensor, exact: np.ndarray) -> np.ndarray:
    """The distance from ``exact`` (in a wider type) over the spacing of floats there."""
    rounded = exact.astype(found.numpy().dtype)
    spacing = np.spacing(np.abs(rounded)).astype(exact.dtype)
    return np.abs(found.numpy().astype(exact.dtype) - exact) / spacing


def sigmoid(x: np.ndarray) -> np.ndarray:
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, e) / (1 + e)


EXACT: dict[str, Callable[[np.ndarray], np.ndarray]] = {"sigmoid": sigmoid, "tanh": np.tanh}


def check_float32(name: str, every: int) -> None:
    # Every so many of all bit patterns: subnormal, infinite and NaN ones are among them.
    x = torch.arange(-(2**31), 2**31, every).to(torch.int32).view(torch.float32)
    found = activation(name, x)
    nan = x.isnan()
    assert bool(nan.any()) and bool(found[nan].isnan().all())
    x, found = x[~nan], found[~nan]
    assert error_in_ulps(found, EXACT[name](x.double().numpy())).max() <= MOST


@pytest.mark.parametrize("name", EXACT)
def test_float32_over_the_whole_range(name: str) -> None:
    check_float32(name, every=997)


@pytest.mark.heavy
@pytest.mark.parametrize("name", EXACT)
def test_float32_over_the_whole_range_densely(name: str) -> None:
    check_float32(name, every=13)


@pytest.mark.parametrize("isa", _engine.available_isas())
def test_float32_of_every_instruction_set(isa: str) -> None:
    code = "from test_engine_activation import *\nfor name in EXACT: check_float32(name, 9973)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "FASTLSTM_ISA": isa, "PYTHONPATH": os.path.dirname(__file__)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(np.finfo(np.longdouble).nmant < 63, reason="there is no wider type to compare")
@pytest.mark.parametrize("name", EXACT)
def test_float64_over_the_whole_range(name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    sizes = torch.exp(torch.empty(200_000, dtype=torch.float64).uniform_(-745, 6.7).abs().neg())
    x = torch.cat(
        (
            torch.linspace(-1, 1, 100_001, dtype=torch.float64),
            torch.linspace(-750, 750, 100_003, dtype=torch.float64),
            torch.randn(200_000, generator=generator, dtype=torch.float64) * 5,
            sizes,
            -sizes,
            torch.tensor([5e-324, -5e-324, 2.2e-308, 1.8e308, -1.8e308], dtype=torch.float64),
        )
    )
    found = activation(name, x)
    assert error_in_ulps(found, EXACT[name](x.numpy().astype(np.longdouble))).max() <= MOST


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_special_values(dtype: torch.dtype) -> None:
    x = torch.tensor([torch.inf, -torch.inf, 0.0, -0.0, torch.nan], dtype=dtype)
    assert activation("sigmoid", x)[:4].tolist() == [1.0, 0.0, 0.5, 0.5]
    assert activation("sigmoid", x)[4].isnan()
    found = activation("tanh", x)
    assert found[:4].tolist() == [1.0, -1.0, 0.0, 0.0] and found[4].isnan()
    assert torch.signbit(found[:4]).tolist() == [False, True, False, True]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", EXACT)
def test_a_number_does_not_depend_on_its_place(name: str, dtype: torch.dtype) -> None:
    x = torch.randn(100, dtype=dtype) * 4
    together = activation(name, x)
    alone = torch.cat([activation(name, one) for one in x.split(1)])
    assert torch.equal(together, alone)


def test_unknown_activation() -> None:
    with pytest.raises(ValueError, match="there are the activations sigmoid and tanh"):
        activation("relu", torch.zeros(3))
