"""The clock of a device, and contenders timed in turn."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

import torch

from benchmarks.gpu_plan import NN_LSTM
from fastlstm.bench.timing import no_garbage_collection

WARM_UP = 2
"""Calls before the first that counts."""

WAKE_SECONDS = 0.1

SLOW, FEW = 4.0, 3
"""Of one that takes so many times as long as the fastest so few samples are taken.

The time is better spent on other shapes. ``nn.LSTM`` is not left out of anything.
"""


class Clock(Protocol):
    """What times a call."""

    def seconds(self, call: Callable[[], object]) -> float:
        """How long a call takes until the device has done it."""
        ...


class DeviceClock:
    """Events on the device, from an idle device to an idle device.

    What the host needs to launch the work counts, wherever the device waits for it.
    """

    def seconds(self, call: Callable[[], object]) -> float:
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        start.record()
        call()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / 1e3


class HostClock:
    """For the CPU."""

    def seconds(self, call: Callable[[], object]) -> float:
        start = time.perf_counter()
        call()
        return time.perf_counter() - start


def clock_of(device: torch.device) -> Clock:
    """The clock to be used on a device."""
    return DeviceClock() if device.type == "cuda" else HostClock()


class Figure(NamedTuple):
    """What the samples of a contender come to, in seconds a call."""

    median: float
    quartiles: tuple[float, float]

    @classmethod
    def of(cls, samples: list[float]) -> Figure:
        if len(samples) < 2:
            return cls(samples[0], (samples[0], samples[0]))
        low, middle, high = statistics.quantiles(samples, n=4, method="inclusive")
        return cls(middle, (low, high))


def alternate(
    calls: Mapping[str, Callable[[], object]],
    clock: Clock,
    samples: Mapping[str, int],
    begin: Callable[[str], None] = lambda name: None,
) -> dict[str, Figure]:
    """Time each in turn, so often; who comes first changes from one round to the next.

    Args:
        calls: those to be timed, warm already.
        clock: the clock.
        samples: how many of each.
        begin: is told whose turn it is, outside what is timed.
    """
    found: dict[str, list[float]] = {name: [] for name in calls}
    names = list(calls)
    with no_garbage_collection():
        for index in range(max(samples.values(), default=0)):
            shift = index % len(names)
            for name in names[shift:] + names[:shift]:
                if index < samples[name]:
                    begin(name)
                    found[name].append(clock.seconds(calls[name]))
    return {name: Figure.of(values) for name, values in found.items()}


def sample_counts(seconds: Mapping[str, float], most: int) -> dict[str, int]:
    """How many samples of each, by how long a call of each takes: ``FEW`` of the slow ones."""
    fastest = min(seconds.values(), default=0.0)
    few = min(FEW, most)
    return {
        name: few if one > SLOW * fastest and name != NN_LSTM else most
        for name, one in seconds.items()
    }


def warm_up(call: Callable[[], object], clock: Clock) -> float:
    """Let everything be compiled, loaded and allocated; the seconds of the last call."""
    for _ in range(WARM_UP):
        clock.seconds(call)
    return clock.seconds(call)


def wake(device: torch.device) -> None:
    """Work for a while, as an idle device has lowered its clock and takes time to raise it."""
    if device.type != "cuda":
        return
    a = torch.randn(2_048, 2_048, device=device)
    end = time.perf_counter() + WAKE_SECONDS
    while time.perf_counter() < end:
        for _ in range(20):
            torch.mm(a, a)
        torch.cuda.synchronize()


def rate(call: Callable[[], object], clock: Clock, samples: int = 9) -> float:
    """Calls a second, at best."""
    warm_up(call, clock)
    return 1.0 / min(clock.seconds(call) for _ in range(samples))
