"""The back end "triton-step" under Triton's interpreter: every switch and every gradient."""

import pytest
import torch

import fastlstm
from cases import EVERYTHING, SWITCHES, make_arguments
from fastlstm.ops import scan
from fastlstm.ops.arguments import DIFFERENTIABLE, BackwardCall, Cotangents
from fastlstm.ops.backends import run_scan_backward
from fastlstm.ops.triton_step import refusal
from test_engine_bfloat16 import PLAIN, assert_near_float32
from test_scan import COMBINATIONS, check
from triton_interpreted import needs_interpreter

KINDS = [(), ("lengths", "reset_state", "reverse"), ("projection", "lengths"), EVERYTHING]
# Rounding moves a cell state over the limit where a clipped one has no gradient.
SMOOTH = tuple(one for one in EVERYTHING if one != "cell_clip")
STARTS = ("reverse", "lengths", "reset_state")


@needs_interpreter
@pytest.mark.parametrize("switches", [(), *((one,) for one in SWITCHES)], ids="+".join)
def test_every_switch(switches: tuple[str, ...]) -> None:
    check(switches, backend="triton-step")
    check((*switches, *STARTS), backend="triton-step")


@needs_interpreter
@pytest.mark.heavy
@pytest.mark.parametrize("switches", COMBINATIONS, ids="+".join)
def test_every_pair_of_switches(switches: tuple[str, ...]) -> None:
    check(switches, backend="triton-step")


@needs_interpreter
@pytest.mark.parametrize("save_every", [0, 3])
@pytest.mark.parametrize("switches", KINDS, ids="+".join)
def test_recomputing_backward(switches: tuple[str, ...], save_every: int) -> None:
    check(switches, save_every, steps=7, rows=5, backend="triton-step")


@needs_interpreter
@pytest.mark.parametrize("switches", KINDS, ids="+".join)
def test_sizes_that_fill_no_tile(switches: tuple[str, ...]) -> None:
    for rows, hidden in ((1, 1), (13, 33), (9, 130)):
        rows = max(rows, 3) if "lengths" in switches else rows
        check(switches, steps=3, rows=rows, hidden=hidden, backend="triton-step")


@needs_interpreter
@pytest.mark.parametrize("switches", [*PLAIN, KINDS[2], SMOOTH], ids="+".join)
@pytest.mark.parametrize("save_every", [1, 3])
def test_bfloat16_is_near_float32(switches: tuple[str, ...], save_every: int) -> None:
    sizes = {"steps": 7, "rows": 5, "hidden": 33}
    arguments = make_arguments(
        switches, dtype=torch.bfloat16, save_every=save_every, backend="triton-step", **sizes
    )
    assert_near_float32(arguments)


@needs_interpreter
def test_small_arguments_lose_no_digits_of_tanh() -> None:
    from triton_probe import tanh_of

    for dtype, least in ((torch.float32, -18), (torch.float64, -40)):
        powers = torch.logspace(least, 5, 1024, base=2, dtype=torch.float64)
        x = torch.cat((-powers, powers)).to(dtype)
        y = torch.empty_like(x)
        tanh_of[(1,)](x, y, x.numel())
        exact = torch.tanh(x.double())
        assert ((y.double() - exact).abs() / exact.abs()).max() < 4 * torch.finfo(dtype).eps


@needs_interpreter
def test_a_layer_is_served_from_end_to_end() -> None:
    layer = fastlstm.LSTM(3, 5, 2, bidirectional=True, layer_norm=True).double()
    x = torch.randn(4, 2, 3, dtype=torch.float64)
    expected, _ = layer(x)
    with fastlstm.backend("triton-step"):
        found, _ = layer(x)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_what_it_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = make_arguments((), requires_grad=False)
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    assert refusal(arguments) == "it runs on GPUs, and the input is on cpu"
    with pytest.raises(RuntimeError, match="'triton-step' cannot serve this call: it runs on GPUs"):
        scan(arguments._replace(backend="triton-step"))
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    whole = arguments._replace(input=arguments.input.to(torch.complex64))
    assert refusal(whole) == (
        "it knows float32, float64, bfloat16 and float16, and the input is torch.complex64"
    )
    assert refusal(make_arguments((), rows=0)) == "the layer has no units, or the batch no rows"
    wide = make_arguments(("layer_norm",), hidden=4097, features=1, requires_grad=False)
    assert refusal(wide) == "it normalises up to 4,096 units, and there are 4,097"
    monkeypatch.setattr("fastlstm.ops.triton_calls._has_triton", lambda: False)
    assert refusal(arguments) == "Triton is not installed"


@needs_interpreter
@pytest.mark.parametrize("backend", ["triton-step", "triton-small", "triton-grid"])
def test_what_it_is_given_stays_as_it_was(backend: str) -> None:
    arguments = make_arguments(("reset_state",), requires_grad=False, save_every=1, backend=backend)
    found = scan(arguments)
    cotangents = Cotangents(*(torch.randn_like(value) for value in found))
    before = [value.clone() for value in cotangents if value is not None]
    needs = [getattr(arguments, name) is not None for name in DIFFERENTIABLE]
    saved = (found.output, found.gates, found.cells)
    run_scan_backward(BackwardCall(cotangents, arguments, *saved, needs, 0))
    assert all(map(torch.equal, before, cotangents))
