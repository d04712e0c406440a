"""The back end "triton-grid" under Triton's interpreter: every switch that it serves."""

from typing import Any

import pytest
import torch
from torch import Tensor

import fastlstm
from cases import EVERYTHING, SWITCHES, make_arguments, poison_padding
from fastlstm.ops import ScanArguments, backends, equations, scan, triton_grid, triton_grid_plan
from fastlstm.ops.arguments import DIFFERENTIABLE, BackwardCall, Cotangents
from fastlstm.ops.triton_grid import INTERPRETED, refusal
from fastlstm.ops.triton_grid_plan import Chip, Plan
from test_engine_bfloat16 import assert_near_float32
from test_scan import COMBINATIONS, assert_same, check, outputs_and_gradients
from test_triton_waits import watching
from triton_interpreted import needs_interpreter

STARTS = ("reverse", "lengths", "reset_state")
KINDS = [(), STARTS, ("projection", "recurrent_mask", "zoneout_masks", *STARTS), EVERYTHING]
NAME = "triton-grid"


@needs_interpreter
@pytest.mark.parametrize("switches", [(), *((one,) for one in SWITCHES)], ids="+".join)
def test_every_switch(switches: tuple[str, ...]) -> None:
    check(switches, steps=2, backend=NAME)
    check((*switches, *STARTS), steps=3, backend=NAME)


@needs_interpreter
@pytest.mark.heavy
@pytest.mark.parametrize("switches", COMBINATIONS, ids="+".join)
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
    usual, chunks = triton_grid._plans, []

    def plans(arguments: ScanArguments, dtype: torch.dtype) -> tuple[Plan, ...]:
        return tuple(changed(plan) for plan in usual(arguments, dtype))

    def changed(found: Plan) -> Plan:
        chunks.append(found.chunks)
        projection = found.projection
        if projection is not None:
            chunks[-1] = (found.chunks, projection.chunks)
            projection = projection._replace(batch=1)
        return found._replace(held=held, batch=2, projection=projection)

    monkeypatch.setattr(triton_grid, "_plans", plans)
    check(("lengths",), steps=2, rows=3, hidden=257, backend=NAME)
    assert set(chunks) == {2, 5}
    for features, hidden, wanted in ((260, 35, {(2, 1), (1, 2)}), (6, 257, {(1, 2), (5, 1)})):
        if hidden == 35 or held == 0:
            chunks.clear()
            check_projection((), features, steps=2, rows=3, hidden=hidden)
            assert set(chunks) == wanted


def with_features(arguments: ScanArguments, features: int) -> ScanArguments:
    """The same with so many features of the hidden state; arguments with a projection."""
    generator = torch.Generator().manual_seed(3)

    def wider(value: Tensor, dimension: int) -> Tensor:
        shape = [*value.shape]
        shape[dimension] = features
        if value.dtype == torch.bool:
            return torch.rand(shape, generator=generator) < 0.3
        found = torch.randn(shape, generator=generator, dtype=torch.float64) / shape[-1] ** 0.5
        return found.to(value.dtype).requires_grad_(value.requires_grad)

    names = {"weight_hr": 0, **dict.fromkeys(("h_0", "reset_h", "weight_hh"), -1)}
    names |= dict.fromkeys(("recurrent_mask", "zoneout_hidden_mask"), -1)
    given = {name: getattr(arguments, name) for name in names}
    return arguments._replace(
        **{name: wider(x, names[name]) for name, x in given.items() if x is not None}
    )


def check_projection(switches: tuple[str, ...], features: int, **sizes: int) -> None:
    """`check` with a projection to so many features."""
    arguments = make_arguments(("projection", *switches), save_every=1, backend=NAME, **sizes)
    arguments = with_features(arguments, features)
    expected = outputs_and_gradients(equations.scan(arguments), arguments)
    poisoned = poison_padding(arguments)
    assert_same(outputs_and_gradients(scan(poisoned), poisoned), expected)


@needs_interpreter
@pytest.mark.parametrize(
    ("switches", "features", "hidden", "rows"),
    [
        ((), 40, 13, 1),
        (("layer_norm", *STARTS), 21, 35, 3),
        pytest.param(KINDS[2], 17, 70, 9, marks=pytest.mark.heavy),
        pytest.param(EVERYTHING, 35, 35, 3, marks=pytest.mark.heavy),
        pytest.param(EVERYTHING, 70, 21, 3, marks=pytest.mark.heavy),
        pytest.param((), 1, 1, 1, marks=pytest.mark.heavy),
    ],
)
@pytest.mark.parametrize("most_traffic", [1e9, 0], ids=["whole sums", "shares of sums"])
def test_more_and_fewer_features_than_units(
    switches: tuple[str, ...],
    features: int,
    hidden: int,
    rows: int,
    most_traffic: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of some programs all features are missing, of others some, and of some all units."""
    monkeypatch.setattr(triton_grid_plan, "_MOST_TRAFFIC", most_traffic)
    check_projection(switches, features, steps=2, rows=rows, hidden=hidden)


@needs_interpreter
@pytest.mark.parametrize(
    ("switches", "rows", "hidden"),
    [
        ((), 17, 70),
        pytest.param(STARTS, 3, 35, marks=pytest.mark.heavy),
        (KINDS[2], 3, 35),
        (EVERYTHING, 3, 35),
    ],
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
    stages = stages_of(switches)
    assert launched == [6 * stages, 6 * stages + 1]


def stages_of(switches: tuple[str, ...]) -> int:
    """Into how many stages a step is divided: a barrier follows each."""
    return 1 + 2 * ("layer_norm" in switches) + ("projection" in switches)


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
        (("projection",), 1),
        (("projection", "coupled_gates", "zoneout_masks"), 1),
        pytest.param(("projection", "layer_norm", "lengths"), 3, marks=pytest.mark.heavy),
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
@pytest.mark.parametrize("switches", [(), ("projection",)], ids="+".join)
def test_float32_is_as_near_float64_as_the_equations(
    switches: tuple[str, ...], allowed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(triton_grid, "allows_tf32", lambda: allowed)
    monkeypatch.setattr(triton_grid_plan, "_MOST_TRAFFIC", 0)  # sums in shares on the way back
    hidden = 35 if switches else 70
    exact = make_arguments(switches, steps=4, rows=3, hidden=hidden, save_every=1)
    wanted = outputs_and_gradients(equations.scan(exact), exact)
    narrow = make_arguments(
        switches, steps=4, rows=3, hidden=hidden, save_every=1, dtype=torch.float32
    )
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


@needs_interpreter
def test_a_layer_is_served_from_end_to_end() -> None:
    layer = fastlstm.LSTM(3, 5, 2, bidirectional=True, peephole=True, proj_size=4).double()
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
    projects = make_arguments(("projection",), requires_grad=False)
    assert refusal(projects) is None
    refused = make_arguments(
        ("projection",), hidden=1024, features=1, requires_grad=False, dtype=torch.float32
    )
    assert refusal(with_features(refused, 512)) is None
    assert refusal(with_features(refused, 1000)) == (
        "the 132 processors of the GPU have no room for weight_hh of 1,024 units "
        "and weight_hr to 1,000 features in torch.float32"
    )
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
@pytest.mark.parametrize("switches", [(), ("projection",), EVERYTHING], ids="+".join)
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
    stages = stages_of(switches)
    assert launched == [("grid_forward", 5 * stages), ("grid_backward", 5 * stages + 1)]
