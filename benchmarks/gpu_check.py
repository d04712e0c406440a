"""Whether what a device computes is right: relative errors against float64 on the CPU.

The error of a tensor is ‖found − right‖ ÷ ‖right‖, so that zeros err by 1. What is allowed is a
multiple of a peer's own error on the same numbers, or a few roundings of the precision where that
is more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks import gpu_operator
from benchmarks.gpu_contenders import Problem, expected, make
from benchmarks.gpu_plan import NN_LSTM, Configuration
from fastlstm.bench.check import ROUNDING_FACTOR

Results = dict[str, Tensor]

PEER_FACTOR = 2.0
"""How many times ``nn.LSTM``'s error on the same device is allowed."""

LEAST = {"float64": 1e-12, "float32": 5e-7, "float16": 2e-3, "bfloat16": 1.6e-2}
"""What is allowed in any case: four roundings of the precision (of float64 many more)."""

SAVED_GATES = 4.0
"""How many times as much with switches in 16 bits, in which a backward pass finds the gates.

Some gradients are then small differences of what those make large; the equations save nothing.
"""

MOST = 0.1
"""What is never allowed, whatever a peer does."""

REPEATS = {"cuda": 3}
"""Calls that are checked: some back ends record what they see again, and then replay it."""

LONG = {"float32": 1e-3, "float16": 5e-2, "bfloat16": 0.1}
"""How far two implementations may be apart after all steps of a sequence; zeros are 1."""


class Verdict(NamedTuple):
    """How the tensor that is nearest to its limit stands."""

    tensor: str
    error: float
    allowed: float

    @property
    def note(self) -> str:
        """``WRONG: …``, or nothing."""
        if self.error <= self.allowed:  # NaN is not
            return ""
        return f"WRONG: {self.tensor} is off by {self.error:.1e}, allowed {self.allowed:.1e}"


def relative_error(found: Tensor, right: Tensor) -> float:
    """‖found − right‖ ÷ ‖right‖ in float64; infinite where the shapes or any zero differ."""
    if found.shape != right.shape:
        return float("inf")
    found, right = found.double(), right.to(found.device).double()
    size = float(right.norm())
    difference = float((found - right).norm())
    if difference == 0.0:
        return 0.0
    return difference / size if size else float("inf")


def compare(
    found: Results, right: Results, least: float, of_peer: dict[str, float], factor: float
) -> Verdict:
    """The tensor that comes nearest to its limit, or is furthest beyond it.

    Args:
        found: what was computed.
        right: the same in float64.
        least: what is allowed in any case.
        of_peer: a peer's error in each tensor; may be empty.
        factor: how many times that is allowed.
    """
    if found.keys() != right.keys():
        different = sorted(found.keys() ^ right.keys())
        return Verdict(", ".join(different), float("inf"), least)
    worst = Verdict("", 0.0, least)
    for name, value in right.items():
        error = relative_error(found[name], value)
        allowed = min(MOST, max(least, factor * of_peer.get(name, 0.0)))
        # Turned round, as NaN is the worst of all.
        if not error / allowed <= worst.error / worst.allowed:
            worst = Verdict(name, error, allowed)
            if error != error:
                break
    return worst


def errors(found: Results, right: Results) -> dict[str, float]:
    """The error in each tensor."""
    return {name: relative_error(found[name], value) for name, value in right.items()}


def _worst_of_calls(verdict: Callable[[], Verdict], device: torch.device) -> Verdict:
    """That of the call that came nearest to its limit, or went beyond it."""
    found = [verdict() for _ in range(REPEATS.get(device.type, 1))]
    # NaN is the worst of all.
    return max(found, key=lambda one: (one.error != one.error, one.error / one.allowed))


class LayerCheck:
    """The check of layers on the numbers of one configuration."""

    def __init__(self, problem: Problem, device: torch.device) -> None:
        self._problem, self._device = problem, device
        # To the device, as the differences of large ones take a CPU seconds.
        self._right = {name: value.to(device) for name, value in expected(problem).items()}
        self._of_peer = {}
        # In 16 bits each rounds at another place; there the limit is that of the precision alone.
        if problem.configuration.dtype == "float32":
            self._of_peer = errors(make(NN_LSTM, problem, device).results(), self._right)

    def verdict(self, name: str) -> Verdict:
        """How a contender's results stand."""
        contender = make(name, self._problem, self._device)
        # Nobody is held to be within twice its own error.
        of_peer = {} if name == NN_LSTM else self._of_peer
        dtype = self._problem.configuration.dtype

        def verdict() -> Verdict:
            return compare(contender.results(), self._right, LEAST[dtype], of_peer, PEER_FACTOR)

        worst = _worst_of_calls(verdict, self._device)
        if name == NN_LSTM and worst.error <= LONG[dtype]:
            return worst._replace(allowed=LONG[dtype])
        return worst


class OperatorCheck:
    """The check of the operator with switches, on the arguments of one configuration."""

    def __init__(self, configuration: Configuration, device: torch.device) -> None:
        self._run = gpu_operator.results
        if configuration.captured and device.type == "cuda":
            self._run = gpu_operator.captured_results
        self._device, self._least = device, LEAST[configuration.dtype]
        if configuration.dtype in ("float16", "bfloat16"):
            self._least *= SAVED_GATES
        switches = gpu_operator.switches_of(configuration)
        self._arguments = gpu_operator.make_arguments(configuration, switches)
        self._right = gpu_operator.expected(self._arguments)
        self._of_peer = {}
        if configuration.dtype != "float64":
            self._of_peer = errors(gpu_operator.rounded(self._arguments), self._right)

    def verdict(self, name: str) -> Verdict:
        """How a back end's results stand; by default those of the one that serves."""
        backend = "" if name in ("default", "plain") else name
        arguments = gpu_operator.on_device(self._arguments, self._device, backend)

        def verdict() -> Verdict:
            found = self._run(arguments, self._arguments.input.dtype)
            return compare(found, self._right, self._least, self._of_peer, ROUNDING_FACTOR)

        return _worst_of_calls(verdict, self._device)


def agreement(found: Results, right: Results, dtype: str) -> Verdict:
    """Whether all steps of a long sequence come out as a peer's; nothing is in float64 here."""
    worst = Verdict("", 0.0, LONG[dtype])
    for name, value in found.items():
        error = _on_device_error(value, right[name])
        if not error <= worst.error:
            worst = Verdict(name, error, LONG[dtype])
    return worst


def _on_device_error(found: Tensor, right: Tensor) -> float:
    found, right = found.float(), right.float()
    return float((found - right).norm() / right.norm())


Check = Callable[[str], Verdict]
"""From a contender's name to how its results stand."""
