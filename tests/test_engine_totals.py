"""The engine's sums over all steps: against plain PyTorch, for any threads, and called wrongly."""

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from cases import make_arguments
from fastlstm import _engine
from fastlstm.ops import scan, sums
from test_engine_bindings import WRONG, spoiled

EPSILON = 1e-5
# None fills a vector or a block of rows; from the last two on, more than one thread works.
SIZES = [(1, 1), (3, 7), (63, 19), (65, 33), (130, 70), (700, 301), (90, 2501)]


def column_dots(a: Tensor, b: Tensor, add_to: Tensor | None = None, threads: int = 1) -> Tensor:
    out = torch.full(a.shape[1:], torch.nan, dtype=a.dtype) if add_to is None else add_to.clone()
    _engine.column_dots(a.numpy(), b.numpy(), out.numpy(), add_to is not None, threads)
    return out


def norm_totals(
    d: Tensor, x: Tensor, gain: Tensor | None, threads: int = 1
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of the gain, of the bias and of x; of x without a gain, nothing."""
    d_gain, d_bias = torch.full((2, d.shape[1]), torch.nan, dtype=d.dtype)
    d_x = torch.full_like(d, torch.nan)
    _engine.norm_totals(
        d.numpy(),
        x.numpy(),
        None if gain is None else gain.numpy(),
        EPSILON,
        d_gain.numpy(),
        d_bias.numpy(),
        None if gain is None else d_x.numpy(),
        threads,
    )
    return d_gain, d_bias, d_x


def assert_close(found: Tensor, expected: Tensor, tolerance: float = 1e-12) -> None:
    scale = max(1.0, expected.abs().max().item())
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance * scale)


def check_column_dots(rows: int, columns: int) -> None:
    a, b = torch.randn(2, rows, columns, dtype=torch.float64)
    assert_close(column_dots(a, b), sums.column_dots(a[None], b[None])[0])
    # A part of the columns of something wider, added to what is there.
    wider, before = torch.randn(rows, 3 * columns, dtype=torch.float64), torch.randn(columns)
    part = wider[:, columns : 2 * columns]
    expected = before.double() + (part * b).sum(dim=0)
    assert_close(column_dots(part, b, before.double()), expected)
    assert_close(column_dots(b, part, before.double()), expected)


def check_norm_totals(rows: int, columns: int) -> None:
    d, x = torch.randn(2, rows, columns, dtype=torch.float64)
    x = 3 * x + 1
    gain, bias = torch.randn(2, columns, dtype=torch.float64)
    variables = [value.clone().requires_grad_() for value in (gain, bias, x)]
    value = F.layer_norm(variables[2], (columns,), variables[0], variables[1], EPSILON)
    automatic = torch.autograd.grad(value, variables, d)
    reference = sums.norm_totals(d[None], x[None], gain, EPSILON)
    found = norm_totals(d, x, gain)
    for one, by_hand, expected in zip(found, reference, automatic, strict=True):
        assert by_hand is not None
        assert_close(by_hand[0], expected)
        assert_close(one, expected)
    without = norm_totals(d, x, None)
    assert torch.equal(without[0], found[0]) and torch.equal(without[1], found[1])
    in_place = x.clone()
    _engine.norm_totals(
        d.numpy(),
        in_place.numpy(),
        gain.numpy(),
        EPSILON,
        torch.empty_like(gain).numpy(),
        torch.empty_like(gain).numpy(),
        in_place.numpy(),
        1,
    )
    assert torch.equal(in_place, found[2])


@pytest.mark.parametrize(("rows", "columns"), SIZES)
def test_column_dots(rows: int, columns: int) -> None:
    check_column_dots(rows, columns)


@pytest.mark.parametrize(("rows", "columns"), SIZES)
def test_norm_totals(rows: int, columns: int) -> None:
    check_norm_totals(rows, columns)


OF_ONE_ISA = """
from fastlstm import _engine
from test_engine_totals import SIZES, check_column_dots, check_norm_totals
for rows, columns in SIZES:
    check_column_dots(rows, columns)
    check_norm_totals(rows, columns)
print(_engine.isa())
"""


@pytest.mark.parametrize("isa", _engine.available_isas())
def test_every_instruction_set(isa: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", OF_ONE_ISA],
        env={**os.environ, "FASTLSTM_ISA": isa, "PYTHONPATH": os.path.dirname(__file__)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (done.returncode, done.stdout.strip()) == (0, isa), done.stderr


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("rows", "columns"), SIZES)
def test_number_of_threads_changes_no_bit(rows: int, columns: int, dtype: torch.dtype) -> None:
    a, b = torch.randn(2, rows, columns, dtype=dtype)
    before, gain = torch.randn(2, columns, dtype=dtype)
    expected = (column_dots(a, b, before), *norm_totals(a, b, gain))
    for threads in (2, 3):
        found = (column_dots(a, b, before, threads), *norm_totals(a, b, gain, threads))
        assert all(map(torch.equal, found, expected)), threads


def test_a_long_sum_of_float32_stays_exact() -> None:
    d, x = torch.rand(2, 40_000, 5)
    gain = torch.rand(5)
    exact = norm_totals(d.double(), x.double(), gain.double())
    for found, expected in zip(norm_totals(d, x, gain)[:2], exact[:2], strict=True):
        assert_close(found.double(), expected, 1e-6)
    assert_close(column_dots(d, x).double(), column_dots(d.double(), x.double()), 1e-6)


def test_no_rows_and_no_columns() -> None:
    for rows, columns in ((0, 5), (4, 0)):
        a, gain = torch.ones(rows, columns), torch.ones(columns)
        assert torch.equal(column_dots(a, a), torch.zeros(columns))
        assert torch.equal(column_dots(a, a, gain), gain)
        d_gain, d_bias, _ = norm_totals(a, a, gain)
        assert torch.equal(d_gain, torch.zeros(columns)) and torch.equal(d_bias, d_gain)


@pytest.fixture
def threads() -> Iterator[None]:
    """Lets a test change the number of threads."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("others", [(), ("reverse",), ("lengths", "zoneout_rates")], ids="+".join)
def test_number_of_threads_changes_no_parameters_gradient(others: tuple[str, ...]) -> None:
    arguments = make_arguments(
        ("layer_norm", "peephole", *others),
        steps=60,
        rows=11,
        features=21,
        hidden=90,
        save_every=1,
        backend="engine",
    )
    names = [
        name
        for name in type(arguments)._fields
        if name.startswith(("weight", "bias", "norm_"))
        and isinstance(getattr(arguments, name), Tensor)
    ]
    assert {"norm_ih", "norm_hh", "norm_cell", "norm_cell_bias", "weight_peephole"} <= set(names)
    results = []
    for count in (1, 2, 3):
        torch.set_num_threads(count)
        output = scan(arguments).output
        leaves = [getattr(arguments, name) for name in names]
        results.append(torch.autograd.grad(output.sum(), leaves))
    for other in results[1:]:
        for name, one, another in zip(names, results[0], other, strict=True):
            assert torch.equal(one, another), name


def test_only_what_is_needed() -> None:
    switches = ("layer_norm", "peephole")
    names = ("norm_ih", "norm_hh", "norm_cell", "norm_cell_bias", "weight_peephole")
    arguments = make_arguments(switches, steps=4, save_every=1, backend="engine")
    names = (*names, "input", "weight_ih", "weight_hh", "bias_ih", "bias_hh")
    together = torch.autograd.grad(
        scan(arguments).output.sum(), [getattr(arguments, name) for name in names]
    )
    for name, expected in zip(names, together, strict=True):
        alone = arguments._replace(
            **{
                other: value.detach()
                for other, value in arguments._asdict().items()
                if isinstance(value, Tensor) and other != name
            }
        )
        (found,) = torch.autograd.grad(scan(alone).output.sum(), getattr(alone, name))
        assert_close(found, expected)


ROWS, COLUMNS = 3, 5
DOTS = {"a": (ROWS, COLUMNS), "b": (ROWS, COLUMNS), "out": (COLUMNS,)}
NORM = {
    "d": (ROWS, COLUMNS),
    "x": (ROWS, COLUMNS),
    "gain": (COLUMNS,),
    "d_gain": (COLUMNS,),
    "d_bias": (COLUMNS,),
    "d_x": (ROWS, COLUMNS),
}


def right(shapes: dict[str, tuple[int, ...]]) -> dict[str, Any]:
    return {name: np.ones(shape, np.float32) for name, shape in shapes.items()}


def call_dots(values: dict[str, Any], threads: int = 1) -> None:
    _engine.column_dots(**values, accumulate=False, threads=threads)


def call_norm(values: dict[str, Any], threads: int = 1) -> None:
    _engine.norm_totals(**values, epsilon=EPSILON, threads=threads)


@settings(max_examples=1000, deadline=None)
@given(data=st.data(), function=st.sampled_from([call_dots, call_norm]))
def test_wrong_calls_do_not_crash(data: st.DataObject, function: Any) -> None:
    values = right(DOTS if function is call_dots else NORM)
    for _ in range(data.draw(st.integers(1, 3))):
        name = data.draw(st.sampled_from(sorted(values)))
        if isinstance(values[name], np.ndarray):
            values[name] = spoiled(values[name], data.draw(WRONG), data.draw(st.integers(0, 9)))
    try:
        function(values, data.draw(st.integers(-1, 3)))
    except (ValueError, TypeError, BufferError, RuntimeError) as error:
        assert str(error)


@pytest.mark.parametrize(
    ("function", "name", "value", "message"),
    [
        (call_dots, "out", None, "engine: out is missing"),
        (call_dots, "a", None, "engine: a is missing"),
        (call_dots, "b", None, "engine: b is missing"),
        (call_dots, "a", np.ones(5, np.float32), r"engine: a must have 2 dimensions, got \[5\]"),
        (
            call_dots,
            "b",
            np.ones((3, 4), np.float32),
            r"engine: b must have shape \[3, 5\], got \[3, 4\]",
        ),
        (call_dots, "b", np.ones((3, 5)), "engine: b has the wrong dtype"),
        (call_dots, "a", np.ones((5, 3), np.float32).T, "engine: a must have contiguous rows"),
        (call_dots, "out", np.ones(5, np.int32), "engine: out must be of dtype float32 or float64"),
        (call_dots, "out", np.ones(10, np.float32)[::2], "engine: out must be contiguous"),
        (call_norm, "d", None, "engine: d is missing"),
        (call_norm, "x", np.ones((3, 10), np.float32)[:, ::2], "engine: x must be contiguous"),
        (call_norm, "gain", None, "engine: gain is missing"),
        (call_norm, "d_x", None, "engine: gain is given and not used"),
        (call_norm, "d_bias", None, "engine: d_bias is missing"),
    ],
)
def test_messages(function: Any, name: str, value: Any, message: str) -> None:
    shapes = DOTS if function is call_dots else NORM
    function(right(shapes))
    with pytest.raises((ValueError, TypeError), match=f"^{message}"):
        function({**right(shapes), name: value})


@pytest.mark.parametrize("function", [call_dots, call_norm])
@pytest.mark.parametrize("threads", [-1, 0, 2000])
def test_number_of_threads_is_checked(function: Any, threads: int) -> None:
    with pytest.raises(ValueError, match="engine: threads must be between 1 and 1024"):
        function(right(DOTS if function is call_dots else NORM), threads)
