"""The engine against the reference equations: every switch, size, instruction set and thread."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from cases import EVERYTHING, SWITCHES, make_arguments
from fastlstm import _engine
from fastlstm.ops import ScanArguments, equations, scan
from fastlstm.ops.arguments import BATCH_DIMENSION
from test_scan import COMBINATIONS, assert_same, check, outputs_and_gradients

KINDS = [(), ("lengths", "reset_state", "reverse"), ("projection", "lengths"), EVERYTHING]


@pytest.fixture
def threads() -> Iterator[None]:
    """Lets a test change the number of threads."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("switches", COMBINATIONS, ids="+".join)
def test_every_switch_and_every_pair(switches: tuple[str, ...]) -> None:
    check(switches, backend="engine")


@pytest.mark.parametrize("save_every", [0, 2, 3, 9])
@pytest.mark.parametrize("switches", [(), *((one,) for one in SWITCHES)], ids="+".join)
def test_recomputing_backward(switches: tuple[str, ...], save_every: int) -> None:
    check(switches, save_every, steps=7, backend="engine")
    both = (*switches, "reverse", "lengths", "reset_state")
    check(both, save_every, steps=7, rows=5, backend="engine")


@pytest.mark.parametrize("switches", KINDS, ids="+".join)
@pytest.mark.parametrize("hidden", [1, 8, 15, 16, 17, 33, 70])
def test_sizes_that_fill_no_vector_and_no_tile(switches: tuple[str, ...], hidden: int) -> None:
    for rows, steps in ((1, 4), (2, 1), (7, 3), (13, 2)):
        check(switches, steps=steps, rows=rows, hidden=hidden, backend="engine")


@pytest.mark.parametrize("save_every", [0, 3])
@pytest.mark.parametrize("switches", KINDS, ids="+".join)
def test_the_input_part_of_many_steps_is_made_in_stretches(
    switches: tuple[str, ...], save_every: int
) -> None:
    # Many features and few rows: W x is then made apart from R h, about 100 rows at a time.
    check(switches, save_every, steps=75, rows=3, features=300, backend="engine")


@pytest.mark.parametrize("switches", KINDS, ids="+".join)
def test_one_step_of_few_rows_packs_as_it_goes(switches: tuple[str, ...]) -> None:
    for hidden, features in ((33, 70), (19, 3)):
        check(switches, steps=1, rows=2, hidden=hidden, features=features, backend="engine")


OF_ONE_ISA = """
from fastlstm import _engine
from test_scan import COMBINATIONS, check
from test_engine_kernels import EVERYTHING
for switches in COMBINATIONS[: 1 + {singles}]:
    for hidden in (5, 9):
        check(switches, hidden=hidden, rows=5, backend="engine")
check(EVERYTHING, hidden=19, rows=7, backend="engine")
print(_engine.isa())
"""


@pytest.mark.parametrize("isa", _engine.available_isas())
def test_every_instruction_set(isa: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", OF_ONE_ISA.format(singles=len(SWITCHES))],
        env={**os.environ, "FASTLSTM_ISA": isa, "PYTHONPATH": os.path.dirname(__file__)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (done.returncode, done.stdout.strip()) == (0, isa), done.stderr


def leaves(switches: tuple[str, ...], **sizes: Any) -> ScanArguments:
    return make_arguments(switches, save_every=1, backend="engine", **sizes)


def assert_identical(found: dict[str, Tensor], expected: dict[str, Tensor], what: object) -> None:
    for name, value in expected.items():
        assert torch.equal(found[name], value), (name, what)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("switches", KINDS, ids="+".join)
@pytest.mark.parametrize(("rows", "hidden", "steps"), [(1, 130, 40), (5, 90, 40), (40, 50, 60)])
def test_number_of_threads_changes_no_bit(
    switches: tuple[str, ...], rows: int, hidden: int, steps: int
) -> None:
    if "lengths" in switches:
        rows = max(rows, 3)  # two of the rows are the longest and the shortest
    for dtype in (torch.float32, torch.float64):
        arguments = leaves(switches, rows=rows, hidden=hidden, steps=steps, dtype=dtype)
        torch.set_num_threads(1)
        expected = scan(arguments)
        gradients = torch.autograd.grad(expected.output.sum(), [arguments.h_0, arguments.weight_hh])
        for count in (2, 3):
            torch.set_num_threads(count)
            found = scan(arguments)
            assert_identical(found._asdict(), expected._asdict(), count)
            again = torch.autograd.grad(found.output.sum(), [arguments.h_0, arguments.weight_hh])
            assert all(map(torch.equal, again, gradients)), count


@pytest.mark.parametrize("switches", KINDS, ids="+".join)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_other_rows_of_the_batch_change_no_bit(
    switches: tuple[str, ...], dtype: torch.dtype
) -> None:
    arguments = leaves(switches, rows=11, hidden=37, dtype=dtype)
    together = scan(arguments)
    of_row = [arguments.input, arguments.h_0, arguments.c_0]
    gradients = torch.autograd.grad(together.output.sin().sum(), of_row)
    for rows in (slice(0, 1), slice(3, 5), slice(4, 11)):
        of_rows = {name: getattr(arguments, name) for name in BATCH_DIMENSION}
        part = arguments._replace(
            **{
                name: value[rows] if BATCH_DIMENSION[name] == 0 else value[:, rows]
                for name, value in of_rows.items()
                if value is not None
            }
        )
        alone = scan(part)
        assert torch.equal(alone.output, together.output[:, rows])
        assert torch.equal(alone.gates, together.gates[:, rows])
        assert torch.equal(alone.cells, together.cells[:, rows])
        assert torch.equal(alone.h_n, together.h_n[rows])
        d_input, d_h_0, d_c_0 = torch.autograd.grad(
            alone.output.sin().sum(), [part.input, part.h_0, part.c_0]
        )
        assert torch.equal(d_input, gradients[0][:, rows])
        assert torch.equal(d_h_0, gradients[1][rows]) and torch.equal(d_c_0, gradients[2][rows])


@pytest.mark.parametrize("switches", KINDS, ids="+".join)
@pytest.mark.parametrize(("steps", "rows", "hidden"), [(30, 9, 40), (3, 500, 20)])
def test_float32_is_as_exact_as_the_reference(
    switches: tuple[str, ...], steps: int, rows: int, hidden: int
) -> None:
    # Rounding grows or dies out with the numbers at hand: only the mean of some runs tells.
    ratios: dict[str, list[Tensor]] = {}
    for seed in range(6):
        sizes = {"steps": steps, "rows": rows, "hidden": hidden, "seed": seed}
        exact = make_arguments(switches, save_every=1, **sizes)
        low = make_arguments(switches, save_every=1, dtype=torch.float32, **sizes)
        for name in ScanArguments._fields:
            value = getattr(low, name)
            if isinstance(value, Tensor) and value.is_floating_point():
                double = value.detach().double().requires_grad_(value.requires_grad)
                exact = exact._replace(**{name: double})
        expected = outputs_and_gradients(equations.scan(exact), exact)
        reference = outputs_and_gradients(equations.scan(low), low)
        found = outputs_and_gradients(scan(low._replace(backend="engine")), low)
        for name, value in expected.items():
            mine = (found[name].double() - value).square().mean().sqrt()
            theirs = (reference[name].double() - value).square().mean().sqrt()
            ratios.setdefault(name, []).append((mine + 1e-12) / (theirs + 1e-12))
    for name, of_runs in ratios.items():
        assert torch.stack(of_runs).log().mean().exp() <= 1.7, (name, of_runs)


def test_backward_of_some_outputs_alone() -> None:
    arguments = leaves(("peephole",), steps=6)
    for name in ("output", "h_n", "c_n", "gates", "cells"):
        found, expected = scan(arguments), equations.scan(arguments)
        for one, other in zip(
            torch.autograd.grad(getattr(found, name).square().sum(), arguments.weight_hh),
            torch.autograd.grad(getattr(expected, name).square().sum(), arguments.weight_hh),
            strict=True,
        ):
            assert_same({name: one}, {name: other})


AFTER_FORK = """
import os, torch
from cases import make_arguments
from fastlstm.ops import scan
torch.set_num_threads(2)
arguments = make_arguments((), rows=4, hidden=130, steps=40, requires_grad=False, backend="engine")
expected = scan(arguments).output
child = os.fork()
if not child:
    os._exit(0 if torch.equal(scan(arguments).output, expected) else 7)
assert os.waitpid(child, 0)[1] == 0
assert torch.equal(scan(arguments).output, expected)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_workers_after_a_fork() -> None:
    done = subprocess.run(
        [sys.executable, "-c", AFTER_FORK],
        env={**os.environ, "PYTHONPATH": os.path.dirname(__file__)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.usefixtures("threads")
def test_several_python_threads_at_once() -> None:
    torch.set_num_threads(2)
    cases = [leaves((), rows=4, hidden=100 + i, steps=40, requires_grad=False) for i in range(4)]
    expected = [scan(case).output for case in cases]
    wrong: list[int] = []

    def work(index: int) -> None:
        torch.set_num_threads(2)
        for _ in range(10):
            if not torch.equal(scan(cases[index]).output, expected[index]):
                wrong.append(index)

    running = [threading.Thread(target=work, args=(index,)) for index in range(len(cases))]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    assert not wrong


def test_what_the_engine_refuses() -> None:
    arguments = make_arguments((), backend="engine")
    with pytest.raises(RuntimeError, match=r"the input is torch\.complex64"):
        scan(arguments._replace(input=arguments.input.to(torch.complex64)))
