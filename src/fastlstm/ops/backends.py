"""Which back end serves a call, and why; how to force one.

A back end is a pair of functions, the scan and its backward pass, and a third that says why it
cannot serve a call (or that it can). They are asked in order, and the first that can serves; where
`rules.py` says which was measured to be the fastest, that one is asked first.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import takewhile
from typing import NamedTuple

from fastlstm.ops import backward, cpu, equations, rules, triton_grid, triton_small, triton_step
from fastlstm.ops.arguments import (
    BackwardCall,
    ScanArguments,
    ScanOutputs,
    check_arguments,
)
from fastlstm.ops.cooperative import LaunchRefusedError
from fastlstm.ops.gradients import Gradients


class Backend(NamedTuple):
    """What serves the operators."""

    name: str
    description: str
    refusal: Callable[[ScanArguments], str | None]  # why it cannot serve this call, or None
    scan: Callable[[ScanArguments], ScanOutputs]  # checks its arguments
    scan_backward: Callable[[BackwardCall], Gradients]  # those that are needed, and others
    by_measurement: bool = False  # it serves only where a rule has it fastest, or when forced


ENGINE = Backend(
    name="engine",
    description="compiled kernels for the CPU",
    refusal=cpu.refusal,
    scan=cpu.scan,
    scan_backward=cpu.scan_backward,
)


TRITON_SMALL = Backend(
    name="triton-small",
    description="all steps in one Triton kernel that keeps the weights on the chip, for any GPU",
    refusal=triton_small.refusal,
    scan=triton_small.scan,
    scan_backward=triton_small.scan_backward,
    by_measurement=True,
)


TRITON_GRID = Backend(
    name="triton-grid",
    description="all steps in one Triton kernel, with R spread over the processors of the GPU",
    refusal=triton_grid.refusal,
    scan=triton_grid.scan,
    scan_backward=triton_grid.scan_backward,
    by_measurement=True,
)


TRITON_STEP = Backend(
    name="triton-step",
    description="a product and one Triton kernel a step, for any GPU",
    refusal=triton_step.refusal,
    scan=triton_step.scan,
    scan_backward=triton_step.scan_backward,
)


def _checked_scan(arguments: ScanArguments) -> ScanOutputs:
    check_arguments(arguments)
    return equations.scan(arguments)


REFERENCE = Backend(
    name="reference",
    description="the equations in plain PyTorch, one time step after another: any device",
    refusal=lambda arguments: None,
    scan=_checked_scan,
    scan_backward=backward.scan_backward,
)

BACKENDS: tuple[Backend, ...] = (ENGINE, TRITON_SMALL, TRITON_GRID, TRITON_STEP, REFERENCE)
"""In the order in which they are asked."""

CUDNN = "cudnn"
"""The back end that serves whole stacks of layers instead of scans: `nn.cudnn`."""

_forced = ""
_of_thread = threading.local()


@contextmanager
def backend(name: str) -> Iterator[None]:
    """Force one back end for every layer that runs inside the ``with`` block.

    A backward pass is served by the back end of its forward pass. The choice is the process's,
    like those of ``torch.backends``: it holds in all threads.

    Args:
        name: the back end's name: ``"engine"``, ``"triton-small"``, ``"triton-grid"``,
            ``"triton-step"`` or ``"reference"``, or ``"cudnn"``, which serves layers as
            ``torch.nn.LSTM`` has them.

    Raises:
        ValueError: there is no back end of that name.
        RuntimeError: (from the layer) the forced back end cannot serve a call; says why.
    """
    global _forced
    check_name(name)
    before, _forced = _forced, name
    try:
        yield
    finally:
        _forced = before


@contextmanager
def nothing_forced() -> Iterator[None]:
    """Have the usual choice inside the ``with`` block, in this thread alone.

    Backward passes need it, and of several GPUs each has a thread for those.
    """
    before = getattr(_of_thread, "forces_nothing", False)
    _of_thread.forces_nothing = True
    try:
        yield
    finally:
        _of_thread.forces_nothing = before


def forced() -> str:
    """The name of the forced back end, or an empty string."""
    return "" if getattr(_of_thread, "forces_nothing", False) else _forced


def check_name(name: str) -> None:
    """Raise a ``ValueError`` that lists the back ends where ``name`` is none of them."""
    names = [*(known.name for known in BACKENDS), CUDNN]
    if name not in names:
        raise ValueError(f"unknown back end {name!r}; there is: {', '.join(names)}")


def run_scan(arguments: ScanArguments) -> ScanOutputs:
    """The scan, by the back end that serves this call."""
    try:
        return select(arguments).scan(arguments)
    except LaunchRefusedError:  # from now on that back end says so when it is asked
        return select(arguments).scan(arguments)


def run_scan_backward(call: BackwardCall) -> Gradients:
    """The gradients that are needed, and others, by the back end that serves this call."""
    try:
        return select(call.arguments).scan_backward(call)
    except LaunchRefusedError:
        return select(call.arguments).scan_backward(call)


def select(arguments: ScanArguments) -> Backend:
    """The back end that serves this call."""
    if arguments.backend:
        check_name(arguments.backend)
    if arguments.backend == CUDNN:
        raise RuntimeError(
            f"the back end {CUDNN!r} cannot serve this call: it serves whole layers without traces"
        )
    for candidate, refusal in candidates(arguments):
        if refusal is None:
            return candidate
        if arguments.backend == candidate.name:
            raise RuntimeError(f"the back end {candidate.name!r} cannot serve this call: {refusal}")
    raise AssertionError("the reference serves every call")


def candidates(arguments: ScanArguments) -> Iterator[tuple[Backend, str | None]]:
    """Each back end that may be asked, with its reason to refuse this call."""
    if arguments.backend:
        forced_one = next(known for known in BACKENDS if known.name == arguments.backend)
        yield forced_one, forced_one.refusal(arguments)
        return
    first = _measured_fastest(arguments)
    order = BACKENDS if first is None else sorted(BACKENDS, key=lambda one: one.name != first)
    for candidate in order:
        refusal = candidate.refusal(arguments)
        if refusal is None and candidate.by_measurement and candidate.name != first:
            refusal = "no measurement has it fastest here"
        yield candidate, refusal


def _measured_fastest(arguments: ScanArguments) -> str | None:
    """The name of the back end that a rule has fastest for this call."""
    if not arguments.input.is_cuda:
        return None
    x, (rows, hidden) = arguments.input, arguments.c_0.shape
    call = rules.Call(x.dtype, arguments.save_every != 0, rows, hidden, steps=len(x))
    return rules.fastest(rules.SCANS, call)


def explain(arguments: ScanArguments) -> tuple[str, str]:
    """The name of the back end that serves this call, and the reason."""
    chosen = select(arguments)
    if arguments.backend:
        return chosen.name, "forced"
    before = takewhile(lambda asked: asked[1] is not None, candidates(arguments))
    refused = [f"{candidate.name}: {refusal}" for candidate, refusal in before]
    return chosen.name, "; ".join([*refused, chosen.description])
