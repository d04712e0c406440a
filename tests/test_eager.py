"""Which calls go round the dispatcher: only those that it would pass straight on."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

import fastlstm
from fastlstm.ops import eager


class Names(TorchDispatchMode):
    """Keeps the names of all operators that are called."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen.append(str(func))
        return func(*args, **(kwargs or {}))


class Marked(Tensor):
    """A tensor with a type of its own."""


@contextmanager
def no_grad_and_inference() -> Iterator[None]:
    with torch.no_grad(), torch.inference_mode():
        yield


@pytest.mark.parametrize("mode", [nullcontext, torch.no_grad, no_grad_and_inference])
def test_plain(mode: Any) -> None:
    made_outside = torch.nn.Parameter(torch.zeros(2))
    with mode():
        assert eager.is_plain((torch.zeros(2), None, made_outside, torch.zeros(2).double()))


@pytest.mark.parametrize(
    "mode",
    [
        lambda: torch.autocast("cpu"),
        FakeTensorMode,
        Names,
        torch.profiler.profile,
        lambda: torch.autograd.profiler.profile(),
    ],
    ids=["autocast", "fake", "dispatch mode", "profiler", "autograd profiler"],
)
def test_not_in_a_mode(mode: Any) -> None:
    x = torch.zeros(2)
    with mode():
        assert not eager.is_plain((x,))
    assert eager.is_plain((x,))


def test_not_in_a_transform() -> None:
    found = []

    def function(x: Tensor) -> Tensor:
        found.append(eager.is_plain((torch.zeros(2),)))
        found.append(eager.is_plain((x,)))
        return x.sum()

    torch.func.grad(function)(torch.zeros(2))
    torch.func.vmap(function)(torch.zeros(3, 2))
    torch.jit.trace(function, torch.zeros(2), check_trace=False)  # a check runs it untraced
    assert len(found) == 6 and not any(found)


def test_not_on_other_tensors() -> None:
    negative = torch.zeros(2, dtype=torch.complex64).conj().imag
    assert negative.is_neg()
    for other in (torch.zeros(2).as_subclass(Marked), torch.zeros(2, device="meta"), negative):
        assert not eager.is_plain((torch.zeros(2), other))


def test_a_mode_sees_the_operator() -> None:
    layer = fastlstm.LSTM(3, 4)
    with Names() as names:
        layer(torch.zeros(2, 1, 3))
    assert "fastlstm.scan.default" in names.seen
