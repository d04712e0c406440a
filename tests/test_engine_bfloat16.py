"""The engine in bfloat16: products of sixteen-bit numbers, sums and cells in float32."""

import platform
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from cases import SWITCHES, make_arguments
from fastlstm import _engine
from fastlstm.ops import ScanArguments, equations, scan

PLAIN = [(), ("no_bias",), ("lengths",), ("reset", "reverse"), ("lengths", "reset_state")]
OTHERS = [(one,) for one in SWITCHES if one not in ("no_bias", "lengths", "reset", "reverse")]
EPSILON = torch.finfo(torch.bfloat16).eps

needs_bfloat16 = pytest.mark.skipif(
    not _engine.features()["avx512_bf16"], reason="this CPU does not multiply bfloat16"
)


def run(arguments: ScanArguments) -> dict[str, Tensor]:
    """The outputs, and the gradients of a loss in which each number counts differently."""
    outputs = scan(arguments)
    named = {"output": outputs.output, "h_n": outputs.h_n, "c_n": outputs.c_n}
    generator = torch.Generator().manual_seed(1)
    loss = sum(
        (value.float() * torch.randn(value.shape, generator=generator)).sum()
        for value in named.values()
    )
    leaves = {
        name: value
        for name, value in arguments._asdict().items()
        if isinstance(value, Tensor) and value.requires_grad
    }
    gradients = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
    return {**named, **{f"d_{name}": d for name, d in zip(leaves, gradients, strict=True)}}


def widened(arguments: ScanArguments) -> ScanArguments:
    """The same numbers in float32."""
    return arguments._replace(
        **{
            name: value.detach().float().requires_grad_(value.requires_grad)
            for name, value in arguments._asdict().items()
            if isinstance(value, Tensor) and value.is_floating_point()
        }
    )


def assert_near_float32(arguments: ScanArguments) -> None:
    found, expected = run(arguments), run(widened(arguments)._replace(backend="reference"))
    for name, value in expected.items():
        assert found[name].dtype == torch.bfloat16
        error = (found[name].float() - value).norm() / (value.norm() + 1e-6)
        assert error <= 4 * EPSILON, (name, error)


@pytest.mark.parametrize("switches", PLAIN + OTHERS, ids="+".join)
@pytest.mark.parametrize("sizes", [(7, 5, 9, 13), (9, 13, 34, 33), (1, 1, 70, 50)])
@pytest.mark.parametrize("save_every", [1, 3])
def test_near_float32(
    switches: tuple[str, ...], sizes: tuple[int, int, int, int], save_every: int
) -> None:
    steps, rows, features, hidden = sizes
    arguments = make_arguments(
        switches,
        steps=steps,
        rows=rows,
        features=features,
        hidden=hidden,
        dtype=torch.bfloat16,
        save_every=save_every,
        backend="engine",
    )
    assert_near_float32(arguments)


@needs_bfloat16
@pytest.mark.parametrize("switches", PLAIN, ids="+".join)
def test_independent_of_threads_and_rows(switches: tuple[str, ...]) -> None:
    before = torch.get_num_threads()
    sizes = {"steps": 9, "rows": 40, "features": 33, "hidden": 70}
    arguments = make_arguments(
        switches, dtype=torch.bfloat16, save_every=1, backend="engine", **sizes
    )
    results = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(run(arguments))
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(value, other[name]) for name, value in results[0].items())


@needs_bfloat16
@pytest.mark.parametrize(
    ("rows", "depth", "columns"),
    [(97, 301, 70), (6, 5, 64), (500, 1300, 90), (150, 1301, 1), (97, 301, 28)],
)
@pytest.mark.parametrize("layouts", [(False, False), (True, False), (False, True), (True, True)])
def test_products(rows: int, depth: int, columns: int, layouts: tuple[bool, bool]) -> None:
    a, b = torch.randn(rows, depth).bfloat16(), torch.randn(depth, columns).bfloat16()
    a = a.t().contiguous().t() if layouts[0] else a
    b = b.t().contiguous().t() if layouts[1] else b
    to_dlpack = torch._C._to_dlpack
    results = []
    for threads in (1, 2):
        out, sums = torch.empty(rows, columns), torch.empty(rows)
        _engine.product(to_dlpack(a), to_dlpack(b), to_dlpack(out), False, to_dlpack(sums), threads)
        results.append((out, sums))
    assert torch.equal(results[0][0], results[1][0]) and torch.equal(results[0][1], results[1][1])
    expected = a.double() @ b.double()
    assert (results[0][0] - expected).abs().max() <= 2e-6 * expected.abs().max()
    torch.testing.assert_close(results[0][1], a.float().sum(1), rtol=1e-4, atol=1e-4)


@pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64", reason="tiles are x86-64's, on Linux"
)
def test_the_engine_has_kernels_for_tiles() -> None:
    # Every compiler that pip is known to find here has these instructions, most CPUs have not: that
    # the kernels are there can only be told from their code.
    multiply_tiles = bytes.fromhex("c4e2525cc4")  # tdpbf16ps tmm0, tmm4, tmm5
    assert multiply_tiles in Path(_engine.__file__).read_bytes()


@needs_bfloat16
def test_only_the_plain_layer_is_multiplied_in_sixteen_bits() -> None:
    from fastlstm.ops import cpu

    for switches, expected in [((), True), (("lengths", "reset"), True), (("peephole",), False)]:
        arguments = make_arguments(switches, dtype=torch.bfloat16)
        assert cpu._multiplies_bfloat16(arguments) is expected


def test_float16_is_calculated_in_float32() -> None:
    arguments = make_arguments(("peephole",), dtype=torch.float16, backend="engine")
    exact = equations.scan(widened(arguments))
    found = scan(arguments)
    assert found.output.dtype == torch.float16 and found.cells.dtype == torch.float32
    torch.testing.assert_close(found.output.float(), exact.output, rtol=1e-3, atol=1e-3)
