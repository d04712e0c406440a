"""The engine's own functions, called wrongly: an exact error, and nothing touched."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fastlstm import _engine

T, B, H, R, I = 3, 2, 5, 4, 6  # noqa: E741
REAL = B  # steps, each row having one: all integers are ones here
LAYER = {
    "c_0": (B, H),
    "reset_c": (B, H),
    "weight_hh": (4 * H, R),
    "weight_hr": (R, H),
    "weight_peephole": (3, H),
    "norm_hh": (4 * H,),
    "norm_cell": (H,),
    "norm_cell_bias": (H,),
    "lengths": (B,),
    "reset": (T, B),
    "recurrent_mask": (B, R),
    "zoneout_cell_mask": (T, B, H),
    "zoneout_hidden_mask": (T, B, R),
}
FORWARD = {
    "input": (T, B, I),
    "weight_ih": (4 * H, I),
    "bias_ih": (4 * H,),
    "bias_hh": (4 * H,),
    "norm_ih": (4 * H,),
    "h_0": (B, R),
    "reset_h": (B, R),
    "output": (T, B, R),
    "h_n": (B, R),
    "c_n": (B, H),
    "gates": (T, B, 4 * H),
    "cells": (T, B, H),
}
BACKWARD = {
    "gates": (T, B, 4 * H),
    "cells": (T, B, H),
    "recurrent": (REAL, 4 * H),
    "d_output": (T, B, R),
    "d_h_n": (B, R),
    "d_c_n": (B, H),
    "d_gates": (T, B, 4 * H),
    "d_cells": (T, B, H),
    "d_z": (REAL, 4 * H),
    "d_recurrent": (REAL, 4 * H),
    "d_seen": (REAL, H),
    "d_new_h": (REAL, R),
    "d_h_0": (B, R),
    "d_c_0": (B, H),
    "d_reset_h": (B, R),
    "d_reset_c": (B, H),
}
DTYPES = {
    "lengths": np.int64,
    "reset": bool,
    "zoneout_cell_mask": bool,
    "zoneout_hidden_mask": bool,
}
NUMBERS = {"zoneout_cell": 0.1, "zoneout_hidden": 0.1, "cell_clip": 1.0, "norm_epsilon": 1e-5}


def arrays(shapes: dict[str, tuple[int, ...]], dtype: Any = np.float32) -> dict[str, Any]:
    return {name: np.ones(shape, DTYPES.get(name, dtype)) for name, shape in shapes.items()}


def layer(values: dict[str, Any]) -> Any:
    return _engine.Layer(**values, **NUMBERS, reverse=False)


def forward(of_layer: dict[str, Any], values: dict[str, Any], **others: Any) -> None:
    numbers = {"save_every": 1, "threads": 1, **others}
    _engine.forward(layer(of_layer), **values, **numbers)


def backward(of_layer: dict[str, Any], values: dict[str, Any], threads: int = 1) -> None:
    _engine.backward(layer(of_layer), **values, threads=threads)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_right_calls(dtype: Any) -> None:
    forward(arrays(LAYER, dtype), arrays(FORWARD, dtype))
    backward(arrays(LAYER, dtype), arrays(BACKWARD, dtype))


WRONG = st.sampled_from(
    ["none", "shape", "rank", "dtype", "integers", "strided", "transposed", "meta", "text", "zero"]
)


def spoiled(value: Any, how: str, size: int) -> Any:
    if how == "none":
        return None
    if how == "shape":
        return np.ones((*value.shape[:-1], size), value.dtype)
    if how == "rank":
        return value[None] if size % 2 else value.reshape(-1)[:size].copy()
    if how == "dtype":
        return value.astype(np.float64)
    if how == "integers":
        return value.astype(np.int32)
    if how == "strided":
        return np.ones((*value.shape[:-1], 2 * value.shape[-1]), value.dtype)[..., ::2]
    if how == "transposed":
        return value.T
    if how == "meta":
        return torch.empty(value.shape, device="meta")
    if how == "text":
        return "array"
    return value[:0]


def attempt(function: Any, of_layer: dict[str, Any], values: dict[str, Any]) -> None:
    """Whatever is wrong is refused, or was not wrong: neither may crash."""
    try:
        function(of_layer, values)
    except (ValueError, TypeError, BufferError, RuntimeError) as error:
        assert str(error)


@settings(max_examples=1500, deadline=None)
@given(data=st.data(), function=st.sampled_from([forward, backward]))
def test_wrong_calls_do_not_crash(data: st.DataObject, function: Any) -> None:
    of_layer = arrays(LAYER)
    values = arrays(FORWARD if function is forward else BACKWARD)
    for _ in range(data.draw(st.integers(1, 3))):
        target = data.draw(st.sampled_from([of_layer, values]))
        name = data.draw(st.sampled_from(sorted(target)))
        if isinstance(target[name], np.ndarray):
            target[name] = spoiled(target[name], data.draw(WRONG), data.draw(st.integers(0, 9)))
    attempt(function, of_layer, values)


@settings(max_examples=500, deadline=None)
@given(
    shapes=st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=3), min_size=4, max_size=4),
    transposed=st.lists(st.booleans(), min_size=2, max_size=2),
    dtypes=st.lists(st.sampled_from([np.float32, np.float64, np.int32]), min_size=4, max_size=4),
    threads=st.integers(-1, 3),
)
def test_wrong_products_do_not_crash(
    shapes: list[list[int]], transposed: list[bool], dtypes: list[Any], threads: int
) -> None:
    a, b, sums, out = (np.ones(s, d) for s, d in zip(shapes, dtypes, strict=True))
    a, b = (x.T if flip else x for x, flip in zip((a, b), transposed, strict=True))
    try:
        _engine.product(a, b, out, True, sums, threads)
    except (ValueError, TypeError) as error:
        assert str(error)
    else:
        np.testing.assert_allclose(out, a @ b + 1)
        np.testing.assert_allclose(sums, a.sum(1))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("output", None, "engine: output is missing"),
        ("output", np.ones((T, B, R + 1), np.float32), "engine: output must have shape "),
        ("h_n", np.ones((B, R)), "engine: h_n has the wrong dtype"),
        ("output", np.ones((T, R, B), np.float32).transpose(0, 2, 1), "engine: output must be con"),
        ("gates", np.ones((T, B, 5 * H), np.float32), "engine: gates must have shape "),
        (
            "weight_ih",
            np.ones((5 * H, I), np.float32),
            "must have 3 or 4 rows for each unit of c_0",
        ),
        ("input", np.ones((0, B, I), np.float32), "engine: input must have at least one step"),
        ("output", np.ones((T, B, R), np.int32), "engine: output must be of dtype float32 or "),
        ("h_0", np.ones((B,), np.float32), r"engine: h_0 must have 2 dimensions, got \[2\]"),
        ("cells", None, "engine: cells is missing"),
    ],
)
def test_messages(name: str, value: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        forward(arrays(LAYER), {**arrays(FORWARD), name: value})


def test_contributions_have_a_row_for_each_real_step() -> None:
    for lengths in ([T, 1], [T + 5, -2]):
        of_layer = {**arrays(LAYER), "lengths": np.array(lengths)}
        real = sum(min(max(length, 0), T) for length in lengths)
        message = rf"engine: recurrent must have shape \[{real}, {4 * H}\], got \[2, {4 * H}\]"
        with pytest.raises(ValueError, match=message):
            backward(of_layer, arrays(BACKWARD))


@pytest.mark.parametrize("threads", [-1, 0, 2000])
def test_number_of_threads_is_checked(threads: int) -> None:
    with pytest.raises(ValueError, match="engine: threads must be between 1 and 1024"):
        forward(arrays(LAYER), arrays(FORWARD), threads=threads)
    with pytest.raises(ValueError, match="engine: threads must be between 1 and 1024"):
        backward(arrays(LAYER), arrays(BACKWARD), threads)


def test_what_is_not_used_is_refused() -> None:
    with pytest.raises(ValueError, match="engine: gates is given and not used"):
        forward(arrays(LAYER), arrays(FORWARD), save_every=0)
    with pytest.raises(ValueError, match="engine: save_every must not be negative"):
        forward(arrays(LAYER), arrays(FORWARD), save_every=-1)


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.tuples(st.integers(0, 70), st.integers(0, 40), st.integers(0, 140)),
    transposed=st.tuples(st.booleans(), st.booleans()),
    threads=st.integers(1, 3),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    accumulate=st.booleans(),
)
def test_products(
    sizes: tuple[int, int, int],
    transposed: tuple[bool, bool],
    threads: int,
    dtype: torch.dtype,
    accumulate: bool,
) -> None:
    rows, depth, columns = sizes
    a = torch.randn(depth, rows).T if transposed[0] else torch.randn(rows, depth)
    b = torch.randn(columns, depth).T if transposed[1] else torch.randn(depth, columns)
    a, b = a.to(dtype), b.to(dtype)
    before = torch.randn(rows, columns, dtype=dtype)
    out, sums = before.clone(), torch.empty(rows, dtype=dtype)
    _engine.product(a.numpy(), b.numpy(), out.numpy(), accumulate, sums.numpy(), threads)
    torch.testing.assert_close(out, a @ b + before if accumulate else a @ b)
    torch.testing.assert_close(sums, a.sum(1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("rows", "columns"), [(61, 300), (300, 61), (1700, 70), (300, 1), (170, 7), (70, 19)]
)
def test_products_deeper_than_a_block(rows: int, columns: int, dtype: torch.dtype) -> None:
    a, b = torch.randn(1500, rows, dtype=dtype).T, torch.randn(1500, columns, dtype=dtype)
    results = []
    for threads in (1, 2, 3):
        out, sums = torch.empty(rows, columns, dtype=dtype), torch.empty(rows, dtype=dtype)
        _engine.product(a.numpy(), b.numpy(), out.numpy(), False, sums.numpy(), threads)
        results.append(torch.cat((out, sums.unsqueeze(1)), dim=1))
    assert torch.equal(results[0], results[1]) and torch.equal(results[0], results[2])
    # Of 1500 numbers of size 1, where a sum may be near zero.
    tolerance = {torch.float32: 1e-4, torch.float64: 1e-12}[dtype]
    torch.testing.assert_close(out, a @ b, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(sums, a.sum(1), rtol=tolerance, atol=tolerance)
