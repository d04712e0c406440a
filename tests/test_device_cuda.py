"""The estimators on a GPU: what they compute there, and that nothing waits for it too early.

Where there is none, `test_device_waits.py` looks for the same on the device "meta".
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._pytree import tree_leaves

import fastlstm
from fastlstm.nn import cudnn_weights
from fastlstm.tasks import estimator
from fastlstm.training import fit, map_tensors
from test_device_waits import CASES
from training_cases import make_clouds, make_config, make_objective

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no NVIDIA GPU")


@pytest.fixture(autouse=True)
def _any_algorithm() -> Iterator[None]:
    # cuBLAS asks for a setting of the environment, and cumsum has no other algorithm.
    torch.use_deterministic_algorithms(False)
    yield
    torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("name", CASES)
def test_a_loss_does_not_wait(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made, data = CASES[name]
    given: list[Any] = []
    monkeypatch.setattr(estimator, "fit", lambda *arguments, **named: given.extend(arguments[:2]))
    made.training = make_config()
    made.fit(*data)
    objective, train = given
    objective.network.to("cuda")
    batch = map_tensors(train.batch(range(10)), lambda tensor: tensor.to("cuda"))
    for mode in ("default", "error"):  # the first time constants are copied, and kernels compiled
        torch.cuda.set_sync_debug_mode(mode)
        objective.loss(batch, None).total.backward()
    torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("name", CASES)
def test_trained_there_and_used_anywhere(name: str, precision: str, tmp_path: Path) -> None:
    made, data = CASES[name]
    made.training = make_config(epochs=2, device="cuda", precision=precision)
    made.fit(*data, output=tmp_path / "run")
    assert next(made.network_.parameters()).device.type == "cpu"
    assert all(np.isfinite(record["train_loss"]) for record in made.history_.records)
    on_cpu = answers(made, data)
    for one, other in zip(on_cpu, answers(made.to("cuda"), data), strict=True):
        np.testing.assert_allclose(one, other, rtol=5e-3, atol=5e-3)
    loaded = type(made).load(tmp_path / "run")
    for one, other in zip(on_cpu, answers(loaded, data), strict=True):
        np.testing.assert_array_equal(one, other)


def answers(made: Any, data: tuple[Any, ...]) -> list[np.ndarray]:
    """Forecasts, or probabilities."""
    return tree_leaves(made.predict() if len(data) == 1 else made.predict_proba(data[0]))


def test_the_same_updates_as_on_a_cpu() -> None:
    records = []
    for device in ("cpu", "cuda"):
        objective = make_objective(torch.float64)
        train, validation = make_clouds(31, dtype=torch.float64), make_clouds(9, 1, torch.float64)
        records.append(fit(objective, train, validation, make_config(device=device)).records)
    for one, other in zip(*records, strict=True):
        one["seconds"] = other["seconds"]
        assert one == pytest.approx(other, rel=1e-6)


STACKS = [
    {},
    {"bias": False},
    {"num_layers": 2, "bidirectional": True},
    {"num_layers": 2, "proj_size": 24, "bidirectional": True},
    {"num_layers": 2, "proj_size": 24, "bias": False},
]


NEAR = {torch.float64: 1e-10, torch.float32: 1e-4, torch.float16: 5e-3, torch.bfloat16: 3e-2}


@pytest.mark.parametrize("dtype", NEAR)
@pytest.mark.parametrize("options", STACKS, ids=str)
def test_no_weights_are_copied_for_cudnn(
    options: dict[str, Any], dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    device = torch.device("cuda")
    if not cudnn_weights.takes(torch.empty(0, device=device, dtype=dtype)):
        pytest.skip(f"this cuDNN does not take {dtype}")
    expected = torch.nn.LSTM(37, 51, device=device, dtype=dtype, **options)
    layer = fastlstm.LSTM(37, 51, **options).to(device, dtype)
    monkeypatch.setattr(cudnn_weights, "_flatten", None)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    x = torch.randn(5, 3, 37, device=device, dtype=dtype, requires_grad=True)
    with fastlstm.backend("cudnn"):
        for _ in range(2):
            expected.load_state_dict(layer.state_dict())
            results = []
            for each in (layer, expected):
                output, states = each(x)
                loss = (output**2).sum() + states[1].sin().sum()
                slopes = torch.autograd.grad(loss, [x, *each.parameters()])
                results.append([output, *states, *slopes])
            torch.testing.assert_close(*results, rtol=NEAR[dtype], atol=NEAR[dtype])
            for value, slope in zip(layer.parameters(), results[0][4:], strict=True):
                value.grad = slope
            optimizer.step()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("options", [STACKS[0], *STACKS[2:4]], ids=str)
def test_autocast_copies_no_weights_for_cudnn(
    options: dict[str, Any], dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not cudnn_weights.takes(torch.empty(0, device="cuda", dtype=dtype)):
        pytest.skip(f"this cuDNN does not take {dtype}")
    expected = torch.nn.LSTM(37, 51, device="cuda", **options)
    layer = fastlstm.LSTM(37, 51, device="cuda", **options)
    layer.load_state_dict(expected.state_dict())
    x = torch.randn(5, 3, 37, device="cuda", requires_grad=True)
    with fastlstm.backend("cudnn"), torch.autocast("cuda", dtype):
        layer(x)  # meets cuDNN's order for this dtype
        monkeypatch.setattr(cudnn_weights, "_flatten", None)
        results = []
        for each in (layer, expected):
            output, states = each(x)
            loss = (output.float() ** 2).sum() + states[1].float().sin().sum()
            slopes = torch.autograd.grad(loss, [x, *each.parameters()])
            results.append([output, *states, *slopes])
    near = {"rtol": NEAR[dtype], "atol": NEAR[dtype], "check_dtype": False}
    torch.testing.assert_close(*results, **near)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_cudnns_order_does_not_depend_on_tf32(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders = []
    for allow_tf32 in (False, True):
        monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", allow_tf32)
        monkeypatch.setattr(cudnn_weights, "_orders", {})
        for options in STACKS:
            fastlstm.LSTM(37, 51, device="cuda", dtype=dtype, **options)
        orders.append(cudnn_weights._orders)
    assert len(orders[0]) == len(STACKS)
    assert orders[0] == orders[1]


def test_a_recorded_call_reads_the_parameters_where_they_lie() -> None:
    layer = fastlstm.LSTM(37, 51, 2, device="cuda").requires_grad_(False)
    x = torch.randn(5, 3, 37, device="cuda")
    side, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
    with fastlstm.backend("cudnn"):
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            layer(x)
        torch.cuda.current_stream().wait_stream(side)
        with torch.cuda.graph(graph):
            found, _ = layer(x)
        layer.load_state_dict(fastlstm.LSTM(37, 51, 2).state_dict())
        graph.replay()
        torch.testing.assert_close(found, layer(x)[0])
