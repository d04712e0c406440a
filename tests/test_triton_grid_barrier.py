"""The programs of "triton-grid" at once, as on a GPU: a process each, which wait for each other.

Triton's interpreter runs a kernel's programs one after another, so here each process runs it for
one of them, on tensors in shared memory; its atomic operations are the processor's.
"""

import itertools
import os
import signal
import time
import traceback
from collections.abc import Callable
from typing import Any

import pytest
from torch import Tensor

from fastlstm.ops import triton_grid, triton_grid_plan
from fastlstm.ops.triton_grid_plan import Chip
from test_scan import check
from test_triton_grid import EVERYTHING, NAME, check_projection, stages_of
from triton_interpreted import needs_interpreter

pytestmark = [
    needs_interpreter,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="processes cannot be forked here"),
]
SECONDS = 120
"""After which a program that still waits has failed."""


class Concurrently:
    """A kernel whose programs run at once."""

    def __init__(self, kernel: Any) -> None:
        self._kernel = kernel

    def __getitem__(self, grid: tuple[int, int]) -> Callable[..., None]:
        def launch(**arguments: Any) -> None:
            for value in arguments.values():
                if isinstance(value, Tensor):
                    value.share_memory_()
            programs = itertools.product(*map(range, grid))
            children = [self._fork(program, grid, arguments) for program in programs]
            ends = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
            assert ends == [0] * len(children)

        return launch

    def _fork(
        self, program: tuple[int, ...], grid: tuple[int, int], arguments: dict[str, Any]
    ) -> int:
        child = os.fork()
        if child:
            return child
        status = 1
        try:
            signal.alarm(SECONDS)
            self._run(program, grid, arguments)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)

    def _run(
        self, program: tuple[int, ...], grid: tuple[int, int], arguments: dict[str, Any]
    ) -> None:
        from triton.runtime import interpreter

        builder: Any = interpreter.interpreter_builder
        place, extent = builder.set_grid_idx, builder.set_grid_dim
        builder.set_grid_idx = lambda *_: place(*program, 0)
        builder.set_grid_dim = lambda *_: extent(*grid, 1)
        if not any(program):  # the others are to notice that they must wait for this one
            store = builder.create_masked_store
            builder.create_masked_store = lambda *given: (time.sleep(0.02), store(*given))[1]
        # It would write what it found at the end over what others have written since.
        interpreter.GridExecutor._restore_args_dev = lambda *_: None  # type: ignore[method-assign]
        self._kernel[1, 1](**arguments)


@pytest.mark.parametrize("most_traffic", [1e9, 0], ids=["whole sums", "shares of sums"])
@pytest.mark.parametrize(
    ("switches", "rows", "groups"),
    [
        ((), 9, 2),
        (("projection",), 21, 1),
        (("projection", "layer_norm"), 21, 1),
        (EVERYTHING, 21, 1),
    ],
)
@pytest.mark.heavy
def test_programs_that_wait_for_each_other(
    switches: tuple[str, ...],
    rows: int,
    groups: int,
    most_traffic: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    launch, launched = triton_grid._launch, []

    def concurrently(kernel: Any, *others: Any, **arguments: Any) -> None:
        launched.append(others[:2])
        launch(Concurrently(kernel), *others, **arguments)

    monkeypatch.setattr(triton_grid, "_launch", concurrently)
    monkeypatch.setattr(triton_grid, "_stretches", lambda turns, device: [(0, turns)])
    monkeypatch.setattr(triton_grid, "_chip", lambda device: Chip(4 * groups, 227 * 1024))
    monkeypatch.setattr(triton_grid_plan, "_MOST_TRAFFIC", most_traffic)
    if "projection" in switches:
        check_projection(switches, features=35, steps=4, rows=rows, hidden=35)
    else:
        check(switches, steps=4, rows=rows, hidden=35, backend=NAME)
    (forward, _), (back, turns) = launched
    assert (forward.programs, forward.groups) == (3, groups)
    assert forward.tiles == back.tiles == 3 - groups
    assert (back.programs, back.groups) == (3 if most_traffic else 4, groups)
    stages = (0 if most_traffic else 1) + stages_of(switches)
    assert turns == 4 * stages + (1 if most_traffic else 2)


@pytest.mark.parametrize("switch", ["lengths", "layer_norm"])
def test_tiles_of_programs_that_wait_for_each_other(
    switch: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    test_programs_that_wait_for_each_other((switch,), 21, 1, 0, monkeypatch)


@pytest.mark.parametrize("norm", [(), pytest.param(("layer_norm",), marks=pytest.mark.heavy)])
def test_programs_that_wait_for_what_is_projected(
    norm: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    test_programs_that_wait_for_each_other(("projection", *norm), 9, 2, 1e9, monkeypatch)


def test_without_waiting_they_come_to_other_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    from fastlstm.ops import triton_grid_backward, triton_grid_forward
    from triton_probe import wait_for_none

    for module in (triton_grid_forward, triton_grid_backward):
        monkeypatch.setattr(module, "wait_for_all", wait_for_none)
    with pytest.raises(AssertionError, match="output"):
        test_programs_that_wait_for_each_other((), 9, 2, 1e9, monkeypatch)
