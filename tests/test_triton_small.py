"""The back end "triton-small" under Triton's interpreter: every switch and every gradient."""

from typing import Any

import pytest
import torch

import fastlstm
from cases import SWITCHES, make_arguments
from fastlstm.ops import scan, triton_small, triton_small_launch
from fastlstm.ops.arguments import DIFFERENTIABLE, BackwardCall, Cotangents
from fastlstm.ops.triton_small import refusal
from fastlstm.ops.triton_small_launch import H100, MI300X, Tiles, tiles_of
from test_engine_bfloat16 import OTHERS, PLAIN, assert_near_float32
from test_scan import COMBINATIONS, check
from test_triton_step import EVERYTHING, KINDS, SMOOTH, STARTS
from test_triton_waits import watching
from triton_interpreted import needs_interpreter


@needs_interpreter
@pytest.mark.parametrize("switches", [(), *((one,) for one in SWITCHES)], ids="+".join)
def test_every_switch(switches: tuple[str, ...]) -> None:
    check((*switches, *STARTS), steps=4, backend="triton-small")


@needs_interpreter
@pytest.mark.heavy
@pytest.mark.parametrize("switches", COMBINATIONS, ids="+".join)
def test_every_pair_of_switches(switches: tuple[str, ...]) -> None:
    check(switches, backend="triton-small")


@needs_interpreter
@pytest.mark.parametrize("save_every", [0, 3])
@pytest.mark.parametrize("switches", KINDS, ids="+".join)
def test_recomputing_backward(switches: tuple[str, ...], save_every: int) -> None:
    check(switches, save_every, steps=7, rows=5, backend="triton-small")


@needs_interpreter
@pytest.mark.parametrize("reverse", [(), ("reverse",)])
def test_states_kept_where_all_rows_of_a_program_have_ended(reverse: tuple[str, ...]) -> None:
    arguments = make_arguments(
        ("lengths", *reverse), steps=11, rows=19, save_every=3, requires_grad=False
    )
    lengths = torch.full((19,), 2)
    lengths[11] = 8  # the second program's; the others end after two steps
    arguments = arguments._replace(lengths=lengths)
    expected = scan(arguments._replace(backend="reference"))
    found = scan(arguments._replace(backend="triton-small"))
    for name, value in expected._asdict().items():
        torch.testing.assert_close(getattr(found, name), value, rtol=1e-12, atol=1e-12)


@needs_interpreter
@pytest.mark.parametrize("switches", KINDS, ids="+".join)
@pytest.mark.parametrize("rows_of_program", [8, pytest.param(16, marks=pytest.mark.heavy)])
def test_sizes_that_fill_no_tile(
    switches: tuple[str, ...], rows_of_program: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(triton_small_launch, "H100", H100._replace(rows=rows_of_program))
    for rows, hidden in ((3, 1), (21, 19)):
        arguments = make_arguments(switches, rows=rows, hidden=hidden, requires_grad=False)
        assert tiles_of(arguments).rows == rows_of_program
        check(switches, steps=3, rows=rows, hidden=hidden, backend="triton-small")


OTHER_SWITCHES = [pytest.param(one, marks=pytest.mark.heavy) for one in (*PLAIN[1:], *OTHERS)]


@needs_interpreter
@pytest.mark.parametrize("save_every", [1, pytest.param(3, marks=pytest.mark.heavy)])
@pytest.mark.parametrize("switches", [(), SMOOTH, *OTHER_SWITCHES], ids="+".join)
def test_bfloat16_is_near_float32(switches: tuple[str, ...], save_every: int) -> None:
    sizes = {"steps": 7, "rows": 5, "hidden": 33}
    arguments = make_arguments(
        switches, dtype=torch.bfloat16, save_every=save_every, backend="triton-small", **sizes
    )
    assert_near_float32(arguments)


@needs_interpreter
def test_a_layer_is_served_from_end_to_end() -> None:
    layer = fastlstm.LSTM(3, 5, 2, bidirectional=True, layer_norm=True).double()
    x = torch.randn(4, 2, 3, dtype=torch.float64)
    expected, _ = layer(x)
    with fastlstm.backend("triton-small"):
        found, _ = layer(x)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@needs_interpreter
def test_saved_memory_of_a_ragged_batch_holds_zeros() -> None:
    arguments = make_arguments(("lengths",), steps=4, rows=9, save_every=1, requires_grad=False)
    found = scan(arguments._replace(lengths=torch.ones(9).long(), backend="triton-small"))
    for value in (found.output, found.gates, found.cells):
        assert value[0].all() and not value[1:].any()


def test_what_it_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = make_arguments((), requires_grad=False)
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    assert refusal(arguments) == "it runs on GPUs, and the input is on cpu"
    monkeypatch.setattr(triton_small.triton_calls, "refusal", lambda arguments: None)
    assert refusal(arguments) == (
        "it multiplies 16 and 32 bits on the chip, and the input is torch.float64"
    )
    half = {"features": 1, "dtype": torch.bfloat16, "requires_grad": False}
    assert refusal(make_arguments((), hidden=128, **half)) is None
    assert refusal(make_arguments(("projection",), hidden=128, **half)) is None
    wide = make_arguments((), hidden=129, **half)
    assert refusal(wide) == "it keeps up to 128 units on the chip, and there are 129"
    monkeypatch.setattr(triton_small, "device_of", lambda device: H100)
    whole = {"features": 1, "dtype": torch.float32, "requires_grad": False}
    assert refusal(make_arguments((), hidden=64, **whole)) is None
    wide = make_arguments((), hidden=65, **whole)
    assert refusal(wide) == "its weights need 423,936 bytes on the chip, and there are 232,448"
    rounded = H100._replace(precision="tf32")
    monkeypatch.setattr(triton_small, "device_of", lambda device: rounded)
    assert refusal(wide) == "its weights need 282,624 bytes on the chip, and there are 232,448"


def test_tiles_cover_the_rows() -> None:
    for device, of_program in ((H100, 8), (MI300X, 16)):
        for rows in (1, 8, 9, 17, 5000):
            tiles = Tiles.over(device, rows, 7, 6)
            assert tiles.rows == of_program
            assert (tiles.programs - 1) * of_program < rows <= tiles.programs * of_program


@needs_interpreter
@pytest.mark.parametrize("switches", [(), EVERYTHING], ids="+".join)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("save_every", [1, 2])
def test_it_waits_for_nothing_and_multiplies_in_the_dtype_of_the_call(
    switches: tuple[str, ...],
    dtype: torch.dtype,
    save_every: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    launched: list[str] = []

    def run(self: Tiles, kernel: Any, **given: Any) -> None:
        assert given["weight_hh"].dtype == dtype
        assert given["weight_hr"] is None or given["weight_hr"].dtype == dtype
        for name, value in given.items():
            assert not isinstance(value, torch.Tensor) or value.is_contiguous(), name
        launched.append(kernel.__name__)

    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    monkeypatch.setattr(Tiles, "run", run)
    arguments = make_arguments(switches, dtype=dtype, save_every=save_every, requires_grad=False)
    needs = [getattr(arguments, name) is not None for name in DIFFERENTIABLE]
    with watching():
        found = triton_small.scan(arguments)
        of_trace = (found.gates, found.cells) if save_every == 1 else (None, None)
        cotangents = Cotangents(*found[:3], *of_trace)
        call = BackwardCall(cotangents, arguments, found.output, found.gates, found.cells, needs, 0)
        gradients = triton_small.scan_backward(call)
    passes = (
        ["forward", "backward"] if save_every == 1 else ["forward"] + ["forward", "backward"] * 3
    )
    assert launched == passes
    for name, need in zip(DIFFERENTIABLE, needs, strict=True):
        if need:
            given = getattr(arguments, name)
            assert (gradients[name].shape, gradients[name].dtype) == (given.shape, given.dtype)


def test_six_products_of_bfloat16_are_as_near_as_one_of_float32() -> None:
    """What "bf16x6" does: the interpreter, which multiplies float32 itself, cannot tell."""

    def parts(x: torch.Tensor) -> list[torch.Tensor]:
        found = []
        for _ in range(3):
            found.append(x.bfloat16().float())
            x = x - found[-1]
        return found

    def cut(x: torch.Tensor) -> torch.Tensor:
        """To float32 towards zero, as matrix units add."""
        near = x.float()
        return torch.where(near.double().abs() > x.abs(), near.nextafter(torch.zeros(())), near)

    h, r = torch.randn(16, 64).tanh(), torch.randn(64, 256) / 8
    total = torch.zeros(16, 256)
    of_h, of_r = parts(h), parts(r)
    for one, other in ((1, 1), (0, 2), (2, 0), (0, 1), (1, 0), (0, 0)):
        for begin in range(0, 64, 16):
            among = slice(begin, begin + 16)
            added = of_h[one][:, among].double() @ of_r[other][among].double()
            total = cut(total.double() + added)
    exact = h.double() @ r.double()
    in_order = torch.zeros(16, 256)
    for k in range(64):
        in_order = (in_order.double() + h[:, k : k + 1].double() * r[k].double()).float()
    assert (total.double() - exact).norm() < (in_order.double() - exact).norm()
