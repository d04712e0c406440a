"""The floor of a shape: the time below which this machine cannot compute it.

Each product takes the longer of two times: its operations over the peak of the units that
multiply, and its bytes over the bandwidth of the cache or memory they must come from. Both
rates are measured, at each number of threads, when the benchmark starts.

For one layer in one direction, with T steps, B rows, I inputs, H units, and s bytes a number:

    input product   operations  2 · T · B · 4H · I        bytes  s · (4H · I + T · B · I), once
    recurrence      operations  2 · T · B · 4H · H        bytes  s · T · 4H · H: R in every step

- The input product runs over all steps at once, so W and the input are read at least once.
- R is read in every step, each core reading its own part: 1/threads of it. If that part fits the
  core's L1, the units are fed at their own rate and there is no bound by bytes; if it fits the L2,
  it comes from there; else from the L3 if the whole fits there; else from memory.
- Training takes 3 times the operations. The input product is done three times (forward, d_input,
  dW). The recurrence is done twice step by step, reading R each time (forward, d_h), and dR is
  one large product after the loop, bound by its operations alone.

The floor of a layer is the sum of its products' times, and that of a stack the sum over layers and
directions. It leaves out the non-linearities, the barriers between the steps and the latency of
one step's chain, so no implementation reaches it, least of all at small sizes.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from fastlstm.bench import DTYPES, Case

CALIBRATION_SECONDS = 0.3
"""How long each rate is measured; the best call counts."""

PRODUCT_SIZE = 512
"""Of the square matrices that measure the peak: large for the units, small enough for the L2."""

GATES = 4


@dataclass(frozen=True)
class Caches:
    """The sizes in bytes: L1 (data) and L2 of one core, and the whole L3."""

    l1: int
    l2: int
    l3: int


@dataclass(frozen=True)
class Calibration:
    """The rates of this machine at a number of threads."""

    threads: int
    caches: Caches
    peak: dict[str, float]  # operations a second, by dtype
    bandwidth: dict[
        str, float
    ]  # bytes a second, from "L2", "L3" and "memory", all threads together


def floor_seconds(case: Case, calibration: Calibration) -> float:
    """The floor of a case; the module says how it comes about."""
    return sum(
        case.directions * _layer_seconds(case, features, calibration)
        for features in (
            case.input_size if layer == 0 else case.directions * case.hidden_size
            for layer in range(case.layers)
        )
    )


def _layer_seconds(case: Case, features: int, calibration: Calibration) -> float:
    T, B, H = case.steps, case.batch, case.hidden_size
    peak, number = calibration.peak[case.dtype], DTYPES[case.dtype].itemsize

    input_bytes = number * (GATES * H * features + T * B * features)
    input_product = max(
        2 * T * B * GATES * H * features / peak,
        _transfer_seconds(input_bytes, input_bytes, calibration),
    )
    weight_bytes = number * GATES * H * H
    product = 2 * T * B * GATES * H * H / peak
    recurrence = max(product, _transfer_seconds(T * weight_bytes, weight_bytes, calibration))
    if case.training:
        return 3 * input_product + 2 * recurrence + product
    return input_product + recurrence


def _transfer_seconds(transferred: int, working_set: int, calibration: Calibration) -> float:
    """How long it takes to read so many bytes of a working set that the threads share out."""
    level = level_of(working_set, calibration)
    return 0.0 if level == "L1" else transferred / calibration.bandwidth[level]


def level_of(working_set: int, calibration: Calibration) -> str:
    """Where a working set stays between two readings: L1, L2, L3 or memory."""
    caches, part = calibration.caches, working_set / calibration.threads
    if part <= caches.l1:
        return "L1"
    if part <= caches.l2:
        return "L2"
    return "L3" if working_set <= caches.l3 else "memory"


def calibrate(threads: int) -> Calibration:
    """Measure the rates. Torch's threads, and the cores, are set already."""
    caches = read_caches()
    return Calibration(
        threads,
        caches,
        {name: _peak(dtype) for name, dtype in DTYPES.items()},
        {
            "L2": _bandwidth(threads * caches.l2 // 2),
            "L3": _bandwidth(max(caches.l3 // 4, 2 * threads * caches.l2)),
            "memory": _bandwidth(4 * caches.l3),
        },
    )


def _peak(dtype: torch.dtype) -> float:
    """The operations a second of a product, by the faster of the two libraries inside torch."""
    a = torch.randn(PRODUCT_SIZE, PRODUCT_SIZE).to(dtype)
    b = torch.randn(PRODUCT_SIZE, PRODUCT_SIZE).to(dtype)
    products: list[Callable[[], object]] = [lambda: torch.mm(a, b)]
    if torch.backends.mkldnn.is_available():
        # MKL, which serves float32 in torch.mm, leaves half of some CPUs' units unused.
        products.append(lambda: torch.ops.mkldnn._linear_pointwise(a, b, None, "none", [], ""))
    return 2 * PRODUCT_SIZE**3 / min(_best_seconds(product) for product in products)


def _bandwidth(size: int) -> float:
    """The bytes a second of reading a buffer of this size again and again."""
    numbers = torch.randn(size // 4)
    # The stride of the repetitions is 0: one call reads the same buffer many times, which makes
    # its own cost small.
    repetitions = max(1, (64 << 20) // size)
    repeated = numbers.expand(repetitions, -1)
    return repeated.numel() * 4 / _best_seconds(repeated.sum)


def _best_seconds(call: Callable[[], object]) -> float:
    call()
    best, end = float("inf"), time.perf_counter() + CALIBRATION_SECONDS
    while time.perf_counter() < end:
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return best


def read_caches(folder: Path = Path("/sys/devices/system/cpu/cpu0/cache")) -> Caches:
    """The sizes of the caches as Linux tells them."""
    sizes = {}
    for index in folder.glob("index*"):
        if (index / "type").read_text().strip() != "Instruction":
            level = int((index / "level").read_text())
            sizes[level] = int((index / "size").read_text().strip().removesuffix("K")) * 1024
    return Caches(sizes[1], sizes[2], sizes.get(3, sizes[2]))
