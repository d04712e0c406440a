"""The floor of a configuration on a GPU: the time below which no design like ours can compute it.

All rates are measured on the device when the benchmark starts: the matrix product of each
precision, a copy in device memory, a copy inside the L2, a barrier of all processors, a kernel in
a graph of kernels. With T steps, B rows, I inputs, H units, s bytes a number and P processors, one
step of one layer in D directions takes at least the meeting of the processors and the longest of

    operations ÷ product rate,    memory bytes ÷ memory rate,    L2 bytes ÷ L2 rate

- *operations*, forward: D · 2 · B · 4H · (I + H); the product by W runs over all steps at once, and
  counts with its share of a step. Backward: twice that (for d_x and d_h, and for dW and dR).
- *memory bytes*, forward: x is read and h is written, s · B · (I + D·H); what a backward pass
  needs is written, D · B · (s · 4H + 4 · H): the gates and c. W is read once in a sequence.
  Backward: the same is read, and the gradient of the output with it; d_z is written, and read
  again for the products after the loop, 2 · D · s · B · 4H; d_x is written.
- *L2 bytes*: each processor reads what all units of its rows handed on, h forward and d_z backward,
  four times as wide. With the rows in g groups, each with a copy of R on P/g processors, that is
  (P/g) · s · B · H. As many groups as copies of R fit on the chip, each on one processor at most.
- R, D · s · 4H · H bytes, stays on the chip if the registers and the shared memory of all
  processors hold it. Else it is read in every step, from the L2 if it fits there, else from memory.
- *meeting*: the processors must meet once a step, at a barrier or by the end of a kernel: the
  faster of the two. Where R of one direction fits one processor nobody meets, and it is none.

Layers follow one another, directions run side by side. The non-linearities, the latency of a
product and everything of the host are left out. A cluster's barrier is faster than one of the whole
device and shared memory can be read across a cluster: a design with clusters has a lower floor.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch

from benchmarks.gpu_measure import Clock, rate
from benchmarks.gpu_plan import DTYPES, Configuration

NUMBER = {"bfloat16": 2, "float16": 2, "float32": 4}
STATE = 4
"""The bytes of a number of the cell state."""
GATES = 4

GRAPH_KERNELS = 200
BARRIERS = 1_000


@dataclass(frozen=True)
class Chip:
    """What a device has."""

    processors: int
    on_chip: int  # bytes of registers and shared memory of one processor
    l2: int  # bytes


@dataclass(frozen=True)
class Ceilings:
    """The measured rates of a device."""

    chip: Chip
    product: dict[str, float]  # operations a second, by precision
    memory: float  # bytes a second, read and written
    l2: float
    kernel: float  # seconds from one small kernel of a graph to the next
    launch: float  # seconds of a small kernel that the host launches, one after another
    barrier: float | None = None  # seconds of a barrier of all processors

    @property
    def meeting(self) -> float:
        """How long processors take to meet."""
        return self.kernel if self.barrier is None else min(self.kernel, self.barrier)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Ceilings:
        return cls(**{**values, "chip": Chip(**values["chip"])})


@dataclass(frozen=True)
class Floor:
    """The least seconds of a call, and what of a step's first layer decides it."""

    seconds: float
    bound: str  # "product", "memory" or "L2"


def floor_of(configuration: Configuration, ceilings: Ceilings) -> Floor:
    """The floor of a configuration; the module says how it comes about."""
    total, bounds = 0.0, []
    for layer in range(configuration.layers):
        inputs = configuration.hidden * (configuration.directions if layer else 1)
        passes = [_forward(configuration, inputs, ceilings)]
        if configuration.training:
            passes.append(_backward(configuration, inputs, ceilings))
        for terms in passes:
            bound = max(terms, key=lambda name: terms[name])
            bounds.append(bound)
            total += configuration.steps * (terms[bound] + _meeting(configuration, ceilings))
    return Floor(total, bounds[0])


def _forward(c: Configuration, inputs: int, ceilings: Ceilings) -> dict[str, float]:
    B, H, D, s = c.rows, c.hidden, c.directions, NUMBER[c.dtype]
    saved = D * B * (s * GATES * H + STATE * H) if c.training else 0
    weights = D * s * GATES * H * inputs / c.steps
    return _terms(
        c,
        ceilings,
        operations=D * 2 * B * GATES * H * (inputs + H),
        memory=s * B * (inputs + D * H) + saved + weights,
        handed_on=s * B * H * D,
    )


def _backward(c: Configuration, inputs: int, ceilings: Ceilings) -> dict[str, float]:
    B, H, D, s = c.rows, c.hidden, c.directions, NUMBER[c.dtype]
    saved = D * B * (s * GATES * H + STATE * H)
    d_z = D * s * B * GATES * H
    weights = 2 * D * s * GATES * H * (inputs + H) / c.steps
    return _terms(
        c,
        ceilings,
        operations=D * 4 * B * GATES * H * (inputs + H),
        memory=saved + 2 * d_z + s * B * (2 * inputs + 2 * D * H) + weights,
        handed_on=d_z,
    )


def _terms(
    c: Configuration, ceilings: Ceilings, operations: float, memory: float, handed_on: float
) -> dict[str, float]:
    chip, weights = ceilings.chip, _recurrent_bytes(c)
    l2 = handed_on * chip.processors / _groups(c, chip)
    if not is_resident(c, chip):
        if weights <= chip.l2:
            l2 += weights
        else:
            memory += weights
    return {
        "product": operations / ceilings.product[c.dtype],
        "memory": memory / ceilings.memory,
        "L2": l2 / ceilings.l2,
    }


def _recurrent_bytes(c: Configuration) -> int:
    """R of all directions."""
    return c.directions * NUMBER[c.dtype] * GATES * c.hidden * c.hidden


def is_resident(c: Configuration, chip: Chip) -> bool:
    """Whether R stays on the chip from step to step."""
    return _recurrent_bytes(c) <= chip.processors * chip.on_chip


def _groups(c: Configuration, chip: Chip) -> int:
    copies = chip.processors * chip.on_chip // _recurrent_bytes(c)
    return max(1, min(copies, chip.processors, c.rows))


def _meeting(c: Configuration, ceilings: Ceilings) -> float:
    fits_one = _recurrent_bytes(c) // c.directions <= ceilings.chip.on_chip
    return 0.0 if fits_one else ceilings.meeting


# The measured rates ------------------------------------------------------------------------------


def chip_of(device: torch.device) -> Chip:
    """What the device has; a CPU stands for a chip of one processor, so that a dry run goes on."""
    if device.type != "cuda":
        return Chip(1, 1 << 20, 1 << 25)
    found = torch.cuda.get_device_properties(device)
    # Where PyTorch does not tell: those of every NVIDIA processor since 2014, and of an H100.
    registers = getattr(found, "regs_per_multiprocessor", 65_536)
    shared = getattr(found, "shared_memory_per_multiprocessor", 233_472)
    l2 = getattr(found, "L2_cache_size", 50 << 20)
    return Chip(found.multi_processor_count, 4 * registers + shared, l2)


def measure_ceilings(device: torch.device, clock: Clock) -> Ceilings:
    """All but the barrier, which may hang: `measure_barrier`."""
    on_gpu = device.type == "cuda"
    chip = chip_of(device)
    size = 8_192 if on_gpu else 128
    return Ceilings(
        chip,
        {name: _product_rate(getattr(torch, name), size, device, clock) for name in DTYPES},
        memory=_copy_rate((2 << 30) if on_gpu else (1 << 20), 1, device, clock),
        # A quarter of the L2 is read and a quarter written, so that both stay there.
        l2=_copy_rate(chip.l2 // 4, 50, device, clock),
        kernel=_kernel_seconds(device, clock, in_graph=on_gpu),
        launch=_kernel_seconds(device, clock, in_graph=False),
    )


def measure_barrier(device: torch.device, clock: Clock) -> float:
    """The seconds of one barrier of all processors, a program on each."""
    from benchmarks.gpu_barrier import barriers

    on_gpu = device.type == "cuda"
    # An interpreter runs one program after another: two would wait for each other for ever.
    programs = chip_of(device).processors if on_gpu else 1
    rounds = BARRIERS if on_gpu else 5
    counter = torch.zeros(1, dtype=torch.int32, device=device)
    options = {"num_warps": 4, "launch_cooperative_grid": True} if on_gpu else {}

    def call() -> None:
        counter.zero_()
        barriers[(programs,)](counter, ROUNDS=rounds, PROGRAMS=programs, **options)

    return 1.0 / rate(call, clock) / rounds


def _product_rate(dtype: torch.dtype, size: int, device: torch.device, clock: Clock) -> float:
    # Of random numbers: products of zeros can be faster.
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    return 2.0 * size**3 * rate(lambda: torch.mm(a, b), clock)


def _copy_rate(size: int, repetitions: int, device: torch.device, clock: Clock) -> float:
    source = torch.randn(size // 4, device=device)
    target = torch.empty_like(source)

    def copies() -> None:
        for _ in range(repetitions):
            target.copy_(source)

    call = _captured(copies) if device.type == "cuda" else copies
    return 2.0 * source.numel() * 4 * repetitions * rate(call, clock)


def _kernel_seconds(device: torch.device, clock: Clock, in_graph: bool) -> float:
    x = torch.zeros(1, device=device)

    def kernels() -> None:
        for _ in range(GRAPH_KERNELS):
            x.add_(1)

    return 1.0 / rate(_captured(kernels) if in_graph else kernels, clock) / GRAPH_KERNELS


def _captured(call: Callable[[], None]) -> Callable[[], None]:
    """A call as a graph, so that the host's share of it is none."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        call()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()
    return graph.replay
