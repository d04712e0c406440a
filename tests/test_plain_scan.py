"""The scan of a plain layer and its backward pass in one call each: equal to those in pieces."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from cases import make_arguments
from fastlstm import _engine
from fastlstm.ops import ScanArguments, cpu, scan
from fastlstm.ops.arguments import DIFFERENTIABLE

pytestmark = pytest.mark.skipif(
    not cpu.READS_TENSORS, reason="this PyTorch has no table of C functions for DLPack"
)
NAMES = ("plain_scan", "plain_scan_backward")
FIELDS = ("input", "h_0", "c_0", "weight_ih", "weight_hh", "bias_ih", "bias_hh")


class Doors:
    """Counts the calls that the engine served in one piece, and turns them away when closed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.served = dict.fromkeys(NAMES, 0)
        self.closed = False
        for name in NAMES:
            monkeypatch.setattr(_engine, name, self._door(name, getattr(_engine, name)))

    def _door(self, name: str, function: Any) -> Any:
        def call(*arguments: Any) -> Any:
            result = None if self.closed else function(*arguments)
            self.served[name] += result is not None
            return result

        return call


@pytest.fixture
def doors(monkeypatch: pytest.MonkeyPatch) -> Iterator[Doors]:
    yield Doors(monkeypatch)


def run(arguments: ScanArguments, only: str = "", seed: int = 1) -> dict[str, Tensor]:
    """All results and gradients, for random gradients of the outputs (or of one output)."""
    outputs = scan(arguments)._asdict()
    generator = torch.Generator().manual_seed(seed)
    loss = torch.zeros(())
    for name in ("output", "h_n", "c_n"):
        d = torch.randn(outputs[name].shape, generator=generator).to(outputs[name].dtype)
        if only in ("", name):
            loss = loss + (d * outputs[name]).sum()
    given = {
        name: value
        for name, value in arguments._asdict().items()
        if isinstance(value, Tensor) and value.requires_grad
    }
    gradients = torch.autograd.grad(loss, list(given.values()))
    return {**outputs, **{f"d_{n}": d for n, d in zip(given, gradients, strict=True)}}


def both_ways(doors: Doors, arguments: ScanArguments, only: str = "") -> None:
    before = dict(doors.served)
    in_one = run(arguments, only)
    assert doors.served == {name: count + 1 for name, count in before.items()}
    doors.closed = True
    in_pieces = run(arguments, only)
    doors.closed = False
    assert in_one.keys() == in_pieces.keys()
    for name, value in in_pieces.items():
        assert value.isfinite().all() and torch.equal(in_one[name], value), name
        assert in_one[name].dtype == value.dtype and in_one[name].shape == value.shape


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("switches", [(), ("no_bias",), ("reverse",), ("reverse", "no_bias")])
@pytest.mark.parametrize("steps, rows", [(1, 1), (1, 3), (6, 1), (5, 3), (9, 37)])
def test_the_same_bits(
    doors: Doors, dtype: torch.dtype, switches: tuple[str, ...], steps: int, rows: int
) -> None:
    if dtype == torch.bfloat16 and not _engine.features()["avx512_bf16"]:
        pytest.skip("the engine multiplies no bfloat16 here")
    both_ways(doors, make_arguments(switches, steps=steps, rows=rows, dtype=dtype, save_every=1))


@pytest.mark.parametrize("only", ["output", "h_n", "c_n"])
def test_a_gradient_from_one_output(doors: Doors, only: str) -> None:
    both_ways(doors, make_arguments(save_every=1), only)


@pytest.mark.parametrize("needed", FIELDS)
def test_a_gradient_of_one_argument(doors: Doors, needed: str) -> None:
    """A bias alone goes in pieces: in one, its gradient comes with that of the weights."""
    arguments = make_arguments(save_every=1, requires_grad=False)
    getattr(arguments, needed).requires_grad_()
    results = run(arguments)
    assert doors.served["plain_scan"] == 1
    assert doors.served["plain_scan_backward"] == (0 if "bias" in needed else 1)
    doors.closed = True
    assert torch.equal(results[f"d_{needed}"], run(arguments)[f"d_{needed}"])


def test_several_threads(doors: Doors) -> None:
    threads = torch.get_num_threads()
    arguments = make_arguments(
        save_every=1, steps=9, rows=33, features=65, hidden=130, dtype=torch.float32
    )
    try:
        torch.set_num_threads(1)
        one = run(arguments)
        torch.set_num_threads(2)
        both_ways(doors, arguments)
        two = run(arguments)
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize(
    "switch",
    [
        "projection",
        "peephole",
        "layer_norm",
        "coupled_gates",
        "recurrent_mask",
        "zoneout_rates",
        "zoneout_masks",
        "cell_clip",
        "lengths",
        "reset",
        "reset_state",
    ],
)
def test_a_switch_goes_in_pieces(doors: Doors, switch: str) -> None:
    switches = ["reset", switch] if switch == "reset_state" else [switch]
    run(make_arguments(switches, save_every=1))
    assert not any(doors.served.values())


def test_other_calls_go_in_pieces(doors: Doors) -> None:
    run(make_arguments(save_every=2))
    run(make_arguments(save_every=0))
    arguments = make_arguments(save_every=1)
    scan(arguments._replace(input=arguments.input.transpose(0, 1).contiguous().transpose(0, 1)))
    # A stretch of steps that is made again to go back through it is a plain scan like any other.
    assert doors.served == {"plain_scan": 4, "plain_scan_backward": 0}
    outputs = scan(arguments)
    (outputs.gates.sum() + outputs.cells.sum()).backward()
    assert doors.served["plain_scan_backward"] == 0


def test_double_backward(doors: Doors) -> None:
    arguments = make_arguments(save_every=1, steps=2, rows=2, features=2, hidden=3)
    given = [value for value in arguments[: len(DIFFERENTIABLE)] if value is not None]

    def function(*values: Tensor) -> tuple[Tensor, ...]:
        replaced = dict(zip(FIELDS, values, strict=True))
        return tuple(scan(arguments._replace(**replaced)))[:3]

    assert torch.autograd.gradcheck(function, given)
    assert doors.served["plain_scan_backward"] > 0
    assert torch.autograd.gradgradcheck(function, given)


def test_saved_tensors_are_guarded(doors: Doors) -> None:
    """A weight changed between the passes is an error, as for every operator of PyTorch."""
    arguments = make_arguments(save_every=1)
    output = scan(arguments).output
    with torch.no_grad():
        arguments.weight_hh.add_(1.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        output.sum().backward()


T, B, I, H = 3, 2, 4, 5  # noqa: E741
SHAPES = {
    "input": (T, B, I),
    "h_0": (B, H),
    "c_0": (B, H),
    "weight_ih": (4 * H, I),
    "weight_hh": (4 * H, H),
    "bias_ih": (4 * H,),
    "bias_hh": (4 * H,),
    "output": (T, B, H),
    "gates": (T, B, 4 * H),
    "cells": (T, B, H),
    "d_output": (T, B, H),
    "d_h_n": (B, H),
    "d_c_n": (B, H),
}
FORWARD = FIELDS
BACKWARD = (*FIELDS[:5], "output", "gates", "cells", "d_output", "d_h_n", "d_c_n")
WRONG = st.one_of(
    st.sampled_from([None, 1.0, "x", np.zeros((T, B, I), np.float32), object()]),
    st.builds(
        lambda shape, dtype, device: torch.zeros(shape, dtype=dtype, device=device),
        st.lists(st.sampled_from([0, 1, T, B, I, H, 4 * H]), max_size=4),
        st.sampled_from([torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.bool]),
        st.sampled_from(["cpu", "cpu", "meta"]),
    ),
    st.just(torch.zeros(B, T, I).transpose(0, 1)),
    st.just(torch.zeros(1).expand(T, B, H)),
)


@settings(max_examples=1000, deadline=None)
@given(
    names=st.sampled_from([FORWARD, BACKWARD]),
    wrong=st.dictionaries(st.sampled_from(sorted(SHAPES)), WRONG, max_size=2),
    flags=st.tuples(*[st.booleans()] * 5),
)
def test_wrong_calls_of_the_engine(
    names: tuple[str, ...], wrong: dict[str, Any], flags: tuple[bool, ...]
) -> None:
    values = {name: torch.zeros(SHAPES[name]) for name in names}
    optional = {"bias_ih", "bias_hh", "d_output", "d_h_n", "d_c_n"}
    fits = all(
        (value is None and name in optional)
        or (
            isinstance(value, Tensor)
            and value.shape == SHAPES[name]
            and value.dtype == torch.float32
            and value.device.type == "cpu"
            and value.is_contiguous()
        )
        for name, value in wrong.items()
        if name in names
    )
    values.update((name, value) for name, value in wrong.items() if name in names)
    if names is FORWARD:
        result = _engine.plain_scan(*values.values(), flags[0], 1)
    else:
        fits = fits and (flags[1] or not flags[3])  # the sums of a bias come with the weights'
        result = _engine.plain_scan_backward(*values.values(), *flags, 1)
    assert (result is not None) == fits
