"""The back end "triton-grid" under Triton's interpreter: every switch that it serves."""

from typing import Any

import pytest
import torch
from torch import Tensor

import fastlstm
from cases import SWITCHES, make_arguments
from fastlstm.ops import ScanArguments, backends, equations, scan, triton_grid, triton_grid_plan
from fastlstm.ops.arguments import DIFFERENTIABLE, BackwardCall, Cotangents
from fastlstm.ops.triton_grid import INTERPRETED, refusal
from fastlstm.ops.triton_grid_plan import (
    SPAN,
    WARPS,
    Chip,
    Plan,
    backward_plan,
    forward_plan,
    in_parts,
)
from test_engine_bfloat16 import assert_near_float32
from test_scan import COMBINATIONS, check, outputs_and_gradients
from test_triton_waits import watching
from triton_interpreted import needs_interpreter

SERVED = tuple(one for one in SWITCHES if one != "projection")
EVERYTHING = tuple(one for one in SERVED if one not in ("no_bias", "zoneout_rates"))
KINDS = [(), ("lengths", "reset_state", "reverse"), EVERYTHING]
STARTS = ("reverse", "lengths", "reset_state")
NAME = "triton-grid"


@needs_interpreter
@pytest.mark.parametrize("switches", [(), *((one,) for one in SERVED)], ids="+".join)
def test_every_switch(switches: tuple[str, ...]) -> None:
    check(switches, steps=2, backend=NAME)
    check((*switches, *STARTS), steps=3, backend=NAME)


@needs_interpreter
@pytest.mark.heavy
@pytest.mark.parametrize(
    "switches", [pair for pair in COMBINATIONS if set(pair) <= set(SERVED)], ids="+".join
)
def test_every_pair_of_switches(switches: tuple[str, ...]) -> None:
    check(switches, backend=NAME)


@needs_interpreter
@pytest.mark.parametrize("save_every", [pytest.param(0, marks=pytest.mark.heavy), 3])
@pytest.mark.parametrize("switches", KINDS, ids="+".join)
def test_recomputing_backward(switches: tuple[str, ...], save_every: int) -> None:
    check(switches, save_every, steps=5, rows=5, backend=NAME)


@needs_interpreter
@pytest.mark.parametrize("switches", KINDS, ids="+".join)
def test_sizes_that_fill_no_tile(switches: tuple[str, ...]) -> None:
    for rows, hidden in ((1, 1), (3, 70)) if not switches else ((11, 33),):
        check(switches, steps=2, rows=rows, hidden=hidden, backend=NAME)


@needs_interpreter
@pytest.mark.parametrize("held", [1, pytest.param(0, marks=pytest.mark.heavy)])
def test_chunks_and_batches(held: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums of more terms than a slice has, with weights of both kinds, in batches."""
    usual, chunks = Plan.over, []

    def over(*sizes: int, **others: Chip) -> Plan:
        plan = usual(*sizes, **others)
        assert plan is not None
        chunks.append(plan.chunks)
        return plan._replace(held=held, batch=2)

    monkeypatch.setattr(Plan, "over", over)
    check(("lengths",), steps=2, rows=3, hidden=257, backend=NAME)
    assert set(chunks) == {2, 5}


@needs_interpreter
@pytest.mark.parametrize(
    ("switches", "rows", "hidden"), [((), 17, 70), (KINDS[1], 3, 35), (EVERYTHING, 3, 35)]
)
def test_shares_of_sums(
    switches: tuple[str, ...], rows: int, hidden: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More terms than one share has, and fewer; of some programs all units are missing."""
    monkeypatch.setattr(triton_grid_plan, "_MOST_TRAFFIC", 0)
    monkeypatch.setattr(triton_grid, "_chip", lambda device: Chip(8, INTERPRETED.shared))
    check(switches, steps=2, rows=rows, hidden=hidden, backend=NAME)


@needs_interpreter
@pytest.mark.parametrize("switches", KINDS, ids="+".join)
def test_many_steps_in_one_launch(
    switches: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU, where a single program waits for none."""
    launched = []

    def all_at_once(steps: int, device: torch.device) -> list[tuple[int, int]]:
        launched.append(steps)
        return [(0, 2), (2, steps)]

    monkeypatch.setattr(triton_grid, "_chip", lambda device: Chip(1, INTERPRETED.shared))
    monkeypatch.setattr(triton_grid, "_stretches", all_at_once)
    check(switches, steps=6, rows=21, hidden=13, backend=NAME)
    stages = 3 if "layer_norm" in switches else 1
    assert launched == [6 * stages, 6 * stages + 1]


def test_a_gpu_has_all_steps_in_one_launch() -> None:
    assert triton_grid._stretches(5, torch.device("cuda")) == [(0, 5)]


@needs_interpreter
@pytest.mark.parametrize(
    ("switches", "save_every"),
    [
        ((), 1),
        ((), 3),
        (("lengths", "reset_state"), 1),
        (("peephole", "recurrent_mask"), 1),
        (("layer_norm",), 1),
        (("layer_norm", "lengths"), 3),
    ],
)
def test_bfloat16_is_near_float32(switches: tuple[str, ...], save_every: int) -> None:
    sizes = {"steps": 4, "rows": 3, "hidden": 19}
    arguments = make_arguments(
        switches, dtype=torch.bfloat16, save_every=save_every, backend=NAME, **sizes
    )
    assert_near_float32(arguments)


@needs_interpreter
@pytest.mark.parametrize("allowed", [False, pytest.param(True, marks=pytest.mark.heavy)])
def test_float32_is_as_near_float64_as_the_equations(
    allowed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(triton_grid, "allows_tf32", lambda: allowed)
    monkeypatch.setattr(triton_grid_plan, "_MOST_TRAFFIC", 0)  # sums in shares on the way back
    exact = make_arguments((), steps=4, rows=3, hidden=70, save_every=1)
    wanted = outputs_and_gradients(equations.scan(exact), exact)
    narrow = make_arguments((), steps=4, rows=3, hidden=70, save_every=1, dtype=torch.float32)
    named = narrow._replace(backend=NAME)
    errors = []
    for outputs in (equations.scan(narrow), scan(named)):
        found = outputs_and_gradients(outputs, narrow)
        errors.append([(found[name].double() - value).norm() for name, value in wanted.items()])
    for ours, theirs in zip(*reversed(errors), strict=True):
        if not allowed:
            assert ours <= 2 * theirs
        else:
            assert 2 * theirs < ours < 400 * theirs  # 2^-16 for 2^-24


def test_parts_of_a_number() -> None:
    x = torch.randn(5, 7, 3)
    parts = in_parts(x, torch.bfloat16, 3)
    assert parts.shape == (5, 3, 7, 3)
    assert torch.equal(parts.double().sum(dim=1), x.double())
    assert (parts[:, 0] == x.bfloat16()).all()


H100 = Chip(132, 227 * 1024)


@pytest.mark.parametrize("rows", [1, 8, 9, 16, 64, 100, 128, 500])
@pytest.mark.parametrize(
    ("hidden", "parts"), [(1, 1), (200, 1), (256, 3), (512, 3), (1000, 1), (1024, 3), (1792, 1)]
)
def test_plans_cover_the_work_and_fit_the_chip(rows: int, hidden: int, parts: int) -> None:
    plans = forward_plan(rows, hidden, parts, H100), backward_plan(rows, hidden, 4, parts, H100)
    for plan, sums in zip(plans, (4, 1), strict=True):
        assert plan is not None
        assert plan.programs * plan.groups <= 132
        of_block = plan.units * plan.shares
        blocks, left = divmod(plan.programs, plan.shares)
        assert left == 0
        assert blocks * of_block >= hidden > (blocks - 1) * of_block
        of_group = plan.tiles * plan.rows
        assert plan.groups * of_group >= rows > (plan.groups - 1) * of_group
        assert plan.chunks * plan.shares * SPAN >= 4 * hidden // sums
        assert plan.outputs == sums * of_block
        weights = 2 * plan.outputs * SPAN * plan.chunks * parts
        # In registers there is room for half of the 256 KiB, in shared memory for the rest.
        held = 2 * plan.outputs * SPAN * plan.held
        assert held <= 128 * 1024
        assert weights - held + 2 * SPAN * plan.rows * parts * plan.batch <= 227 * 1024
        assert 4 * WARPS * plan.outputs * plan.rows <= 227 * 1024


def test_plans_by_size() -> None:
    def forward(rows: int, hidden: int, parts: int = 1) -> tuple[int, ...]:
        plan = forward_plan(rows, hidden, parts, H100)
        return () if plan is None else plan[:5]

    assert forward(1, 256) == (16, 1, 1, 8, 16)
    assert forward(64, 256) == (16, 8, 1, 8, 16)
    assert forward(16, 512) == (32, 2, 1, 8, 16)
    assert forward(64, 1024) == (64, 2, 2, 16, 16)
    assert forward(64, 1024, 3) == (128, 1, 4, 16, 8)
    assert forward(64, 2048) == ()
    assert forward_plan(1, 1024, 1, Chip(40, H100.shared)) is None

    def backward(rows: int, hidden: int, parts: int = 1) -> tuple[int, int]:
        plan = backward_plan(rows, hidden, 4, parts, H100)
        assert plan is not None
        return plan.shares, plan.traffic

    assert backward(16, 1024) == (1, 8 << 20)
    assert backward(64, 1024) == (4, 8 << 20)  # of 32 MiB
    assert backward(1, 1024, 3) == (4, 6 << 20)  # of 24 MiB: eight rows are no more than one
    assert backward(128, 256) == (1, 4 << 20)


@needs_interpreter
def test_a_layer_is_served_from_end_to_end() -> None:
    layer = fastlstm.LSTM(3, 5, 2, bidirectional=True, peephole=True).double()
    x = torch.randn(4, 2, 3, dtype=torch.float64)
    expected, _ = layer(x)
    with fastlstm.backend(NAME):
        found, _ = layer(x)
        assert {choice.backend for choice in fastlstm.explain(layer, x).choices} == {NAME}
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@needs_interpreter
def test_what_it_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = make_arguments((), requires_grad=False)
    assert refusal(arguments) is None
    assert refusal(make_arguments(("layer_norm",), requires_grad=False)) is None
    refused = make_arguments(("projection",), requires_grad=False)
    assert refusal(refused) == "it has no projection"
    wide = make_arguments((), hidden=2048, features=1, requires_grad=False, dtype=torch.bfloat16)
    assert refusal(wide) == (
        "the 132 processors of the GPU have no room for weight_hh of 2,048 units in torch.bfloat16"
    )
    assert refusal(make_arguments((), rows=0)) == "the layer has no units, or the batch no rows"
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    assert refusal(arguments) == "it runs on GPUs, and the input is on cpu"
    with pytest.raises(RuntimeError, match="'triton-grid' cannot serve this call: it runs on GPUs"):
        scan(arguments._replace(backend=NAME))


def test_what_it_refuses_on_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    monkeypatch.setattr("fastlstm.ops.triton_calls.refusal", lambda arguments: None)
    arguments = make_arguments((), requires_grad=False)
    assert refusal(arguments) == "it runs on NVIDIA GPUs alone"


@needs_interpreter
def test_it_serves_only_where_it_was_measured_or_forced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "BACKENDS", backends.BACKENDS[1:])
    layer = fastlstm.LSTM(3, 5)
    (choice,) = fastlstm.explain(layer, torch.zeros(4, 2, 3)).choices
    assert choice.backend == "triton-step"
    assert "triton-grid: no measurement has it fastest here" in choice.reason


@needs_interpreter
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("switches", [(), EVERYTHING], ids="+".join)
def test_nothing_waits_for_the_device(
    switches: tuple[str, ...], dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    launched = []

    def launch(kernel: Any, plan: Plan, steps: int, a: ScanArguments, **others: Any) -> None:
        for name, value in {**others, **a._asdict()}.items():
            assert not isinstance(value, Tensor) or value.is_contiguous(), name
        launched.append((kernel.__name__, steps))

    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    monkeypatch.setattr(triton_grid, "_launch", launch)
    arguments = make_arguments(switches, dtype=dtype, save_every=1, requires_grad=False)
    needs = [getattr(arguments, name) is not None for name in DIFFERENTIABLE]
    with watching():
        found = triton_grid.scan(arguments)
        call = BackwardCall(Cotangents(*found), arguments, *found[:1], *found[3:], needs, 0)
        triton_grid.scan_backward(call)
    stages = 3 if "layer_norm" in switches else 1
    assert launched == [("grid_forward", 5 * stages), ("grid_backward", 5 * stages + 1)]
