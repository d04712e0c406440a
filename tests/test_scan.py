"""The operator against the equations: every output and every gradient, in float64.

Here on the reference back end; `test_engine_kernels.py` repeats it on the engine.
"""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from cases import SWITCHES, differentiable, make_arguments, poison_padding
from fastlstm.ops import ScanArguments, ScanOutputs, equations, scan

COMBINATIONS = [(), *((one,) for one in SWITCHES), *itertools.combinations(SWITCHES, 2)]


def outputs_and_gradients(
    outputs: ScanOutputs, arguments: ScanArguments, seed: int = 1
) -> dict[str, Tensor]:
    """Every output, and the gradient of a random weighting of all of them."""
    generator = torch.Generator().manual_seed(seed)
    loss = torch.zeros((), dtype=torch.float64)
    # Gates and cells are there for the backward pass alone unless all of them are kept.
    for output in outputs if arguments.save_every == 1 else outputs[:3]:
        if output.requires_grad:
            weight = torch.randn(output.shape, generator=generator, dtype=torch.float64)
            loss = loss + (output * weight).sum()
    names = [
        name
        for name in ScanArguments._fields
        if isinstance(value := getattr(arguments, name), Tensor) and value.requires_grad
    ]
    gradients = torch.autograd.grad(loss, differentiable(arguments), materialize_grads=True)
    found = {f"d_{name}": gradient for name, gradient in zip(names, gradients, strict=True)}
    return {**outputs._asdict(), **found}


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, value in found.items():
        scale = max(1.0, expected[name].abs().max().item()) if value.numel() else 1.0
        torch.testing.assert_close(
            value, expected[name], rtol=1e-12, atol=1e-12 * scale, msg=lambda m, n=name: f"{n}: {m}"
        )


def check(
    switches: tuple[str, ...], save_every: int = 1, backend: str = "reference", **sizes: int
) -> None:
    arguments = make_arguments(switches, save_every=save_every, backend=backend, **sizes)
    expected = outputs_and_gradients(equations.scan(arguments), arguments)
    poisoned = poison_padding(arguments)
    found = outputs_and_gradients(scan(poisoned), poisoned)
    assert_same(found, expected)


@pytest.mark.parametrize("switches", COMBINATIONS, ids="+".join)
def test_every_switch_and_every_pair(switches: tuple[str, ...]) -> None:
    check(switches)


@pytest.mark.parametrize("save_every", [0, 2, 3, 5, 9])
@pytest.mark.parametrize("switches", [(), *((one,) for one in SWITCHES)], ids="+".join)
def test_recomputing_backward(switches: tuple[str, ...], save_every: int) -> None:
    check(switches, save_every, steps=7)
    check((*switches, "reverse", "lengths", "reset_state"), save_every, steps=7, rows=5)


@settings(max_examples=400, deadline=None)
@given(
    backend=st.sampled_from(["reference", "engine"]),
    switches=st.sets(st.sampled_from(SWITCHES), min_size=3),
    steps=st.integers(1, 7),
    rows=st.integers(1, 5),
    hidden=st.sampled_from([7, 9, 17]),
    save_every=st.sampled_from([0, 1, 1, 2, 3]),
    seed=st.integers(0, 1000),
)
def test_random_combinations(
    backend: str, switches: set[str], steps: int, rows: int, hidden: int, save_every: int, seed: int
) -> None:
    check(
        tuple(sorted(switches)),
        save_every,
        backend,
        steps=steps,
        rows=rows,
        hidden=hidden,
        seed=seed,
    )
