"""What surrounds the GPU kernels waits for no number of the device, and leaves nothing on the CPU.

Where there is no GPU the operators tell: none of them may read a tensor's numbers, or make a tensor
without saying where, which shows since all those come to be on the device "meta".
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import fastlstm
from cases import SWITCHES, make_arguments
from fastlstm.ops import triton_launch, triton_step
from fastlstm.ops.arguments import DIFFERENTIABLE, BackwardCall, Cotangents
from test_triton_step import EVERYTHING, needs_interpreter

aten = torch.ops.aten
_READ_NUMBERS = {
    aten._local_scalar_dense, aten.nonzero, aten.masked_select, aten.is_nonzero, aten.equal,
    aten.unique_dim, aten._unique2, aten.repeat_interleave, aten.bincount,
}  # fmt: skip
_MAKE_TENSORS = {
    aten.empty, aten.empty_strided, aten.zeros, aten.ones, aten.full, aten.arange,
    aten.scalar_tensor, aten.lift_fresh, aten.rand, aten.randn,
}  # fmt: skip


class Watch(TorchDispatchMode):
    """Raises where an operator would wait for a GPU, or make a tensor that is not there."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        assert func.overloadpacket not in _READ_NUMBERS, f"{func} waits for the device"
        if func.overloadpacket in _MAKE_TENSORS:
            assert given["device"].type != "meta", f"{func} says no device"
        return func(*args, **given)


@contextmanager
def watching() -> Iterator[None]:
    with torch.device("meta"), Watch():
        yield


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the kernels that would have been launched."""
    names: list[str] = []

    def run(self: Any, kernel: Any, **arguments: Any) -> None:
        for name, value in arguments.items():
            assert not isinstance(value, Tensor) or value.is_contiguous(), name
        names.append(kernel.__name__)

    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    monkeypatch.setattr(triton_launch.Launch, "run", run)
    return names


@needs_interpreter
@pytest.mark.parametrize("switches", [(), *((one,) for one in SWITCHES), EVERYTHING], ids="+".join)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("save_every", [0, 1, 2])
def test_forward_and_backward(
    switches: tuple[str, ...], dtype: torch.dtype, save_every: int, watched: list[str]
) -> None:
    arguments = make_arguments(switches, dtype=dtype, save_every=save_every, requires_grad=False)
    needs = [getattr(arguments, name) is not None for name in DIFFERENTIABLE]
    with watching():
        found = triton_step.scan(arguments)
        of_trace = (found.gates, found.cells) if save_every == 1 else (None, None)
        cotangents = Cotangents(*found[:3], *of_trace)
        call = BackwardCall(cotangents, arguments, found.output, found.gates, found.cells, needs, 0)
        gradients = triton_step.scan_backward(call)
    assert watched.count("cell_forward") == len(arguments.input) * (1 if save_every == 1 else 2)
    assert watched.count("cell_backward") == len(arguments.input)
    for name, need in zip(DIFFERENTIABLE, needs, strict=True):
        if need:
            given = getattr(arguments, name)
            assert (gradients[name].shape, gradients[name].dtype) == (given.shape, given.dtype)


@needs_interpreter
@pytest.mark.parametrize("training", [True, False])
def test_a_module(training: bool, watched: list[str]) -> None:
    layer = fastlstm.LSTM(
        3, 5, 2, bidirectional=True, dropout=0.1, layer_norm=True, recurrent_dropout=0.1,
        zoneout=0.1, weight_dropout=0.1, locked_dropout=0.1, residual=True,
    ).train(training)  # fmt: skip
    x = torch.randn(4, 2, 3, requires_grad=True)
    reset = torch.zeros(4, 2, dtype=torch.bool)
    with watching(), fastlstm.backend("triton-step"):
        output, (_, c_n) = layer(x, reset=reset)
        (output.sum() + c_n.sum()).backward()
    assert watched.count("cell_forward") == watched.count("cell_backward") == 4 * 4


def test_the_watch_sees() -> None:
    with watching():
        for waits in (lambda x: x.sum().item(), lambda x: x.nonzero(), lambda x: bool(x.sum())):
            with pytest.raises(AssertionError, match="waits for the device"):
                waits(torch.ones(3, device="cpu"))
        with pytest.raises(AssertionError, match="says no device"):
            torch.zeros(3)
