"""What happens where a driver refuses a cooperative launch."""

from typing import Any

import pytest
import torch

import fastlstm
from fastlstm.ops import backends, cooperative
from triton_interpreted import needs_interpreter

pytestmark = needs_interpreter
SAID = "too many blocks in cooperative launch"
REASON = f"the driver of cpu refused a cooperative launch: {SAID}"


@pytest.fixture(autouse=True)
def _a_driver_that_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    """And a rule that has "triton-grid" fastest, with no engine."""
    monkeypatch.setattr(cooperative, "_refused", {})
    monkeypatch.setattr(backends, "BACKENDS", backends.BACKENDS[1:])
    monkeypatch.setattr(backends, "_measured_fastest", lambda arguments: "triton-grid")


class Refused:
    """A kernel that the driver does not launch."""

    def __init__(self, message: str) -> None:
        self._message = message

    def __getitem__(self, grid: tuple[int, int]) -> Any:
        def launch(**arguments: Any) -> None:
            raise RuntimeError(f"Triton Error [CUDA]: {self._message}")

        return launch


def test_another_back_end_serves_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    from fastlstm.ops import triton_grid_forward

    layer, x = fastlstm.LSTM(3, 5), torch.randn(4, 2, 3)
    expected, _ = layer(x)
    monkeypatch.setattr(triton_grid_forward, "grid_forward", Refused(SAID))
    assert fastlstm.explain(layer, x).choices[0].backend == "triton-grid"
    with pytest.warns(RuntimeWarning, match=REASON):
        found, _ = layer(x)
    torch.testing.assert_close(found, expected)
    found, _ = layer(x)  # warns no more: a warning is an error in these tests
    (choice,) = fastlstm.explain(layer, x).choices
    assert choice.backend == "triton-step"
    assert f"triton-grid: {REASON}" in choice.reason
    with (
        fastlstm.backend("triton-grid"),
        pytest.raises(RuntimeError, match=f"'triton-grid' cannot serve this call: {REASON}"),
    ):
        layer(x)


def test_in_a_backward_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    from fastlstm.ops import triton_grid_backward

    layer, x = fastlstm.LSTM(3, 5), torch.randn(4, 2, 3, requires_grad=True)
    with fastlstm.backend("reference"):
        (expected,) = torch.autograd.grad(layer(x)[0].sum(), x)
    monkeypatch.setattr(triton_grid_backward, "grid_backward", Refused(SAID))
    output, _ = layer(x)
    with pytest.warns(RuntimeWarning, match=REASON):
        (found,) = torch.autograd.grad(output.sum(), x)
    torch.testing.assert_close(found, expected)


def test_other_errors_are_nobodys_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    from fastlstm.ops import triton_grid_forward

    monkeypatch.setattr(triton_grid_forward, "grid_forward", Refused("an illegal address"))
    with pytest.raises(RuntimeError, match="an illegal address"):
        fastlstm.LSTM(3, 5)(torch.randn(4, 2, 3))
    assert cooperative.refusal(torch.device("cpu")) is None
