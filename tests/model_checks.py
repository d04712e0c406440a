"""What every network must hold to, as functions that its tests call."""

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def garbage_like(x: Tensor) -> Tensor:
    """What may stand in the padding: NaN, or a number that is no id."""
    return torch.full_like(x, torch.nan if x.is_floating_point() else -7)


def poison(x: Tensor, lengths: Tensor) -> Tensor:
    dead = torch.arange(x.shape[1]) >= lengths[:, None]
    return torch.where(dead.reshape(dead.shape + (1,) * (x.dim() - 2)), garbage_like(x), x)


def lengthen(x: Tensor, steps: int = 3) -> Tensor:
    return torch.cat((x, garbage_like(x[:, :1].expand(-1, steps, *x.shape[2:]))), dim=1)


def check_parameters_get_gradients(
    network: nn.Module, loss: Tensor, without: tuple[str, ...] = ()
) -> None:
    """Every parameter has a finite gradient that is not all zero."""
    network.zero_grad()
    loss.backward()
    for name, parameter in network.named_parameters():
        if name in without:
            assert parameter.grad is None, name
            continue
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


def check_rebuilt_from_config(network: Any, run: Callable[[Any], Mapping[str, Tensor]]) -> None:
    """The same network from its configuration and its state alone."""
    other = type(network)(network.config).to(next(network.parameters()).dtype).eval()
    other.load_state_dict(copy.deepcopy(network.state_dict()))
    for name, value in run(network.eval()).items():
        assert torch.equal(run(other)[name], value)


def check_exports(
    network: nn.Module, inputs: tuple[Tensor, ...], others: tuple[Tensor, ...]
) -> None:
    """Exported with any batch and number of steps, and compiled into one graph: same numbers."""
    network.eval()
    dynamic = torch.export.Dim.DYNAMIC
    shapes = tuple({d: dynamic for d in range(min(2, x.dim()))} for x in inputs)
    program = torch.export.export(network, inputs, dynamic_shapes=shapes)
    compiled = torch.compile(network, fullgraph=True, dynamic=True, backend="eager")
    for given in (inputs, others):
        expected = network(*given)
        for found in (program.module()(*given), compiled(*given)):
            for name, value in expected.items():
                close(found[name], value)


def check_constants_follow_the_input(network: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    """Nothing is made on the CPU where the input is elsewhere; lengths alone may stay there."""
    elsewhere = [x if x.dim() == 1 else x.to("meta") for x in inputs]
    found = copy.deepcopy(network).to("meta")(*elsewhere)
    for value in found.values() if isinstance(found, dict) else found:
        assert value.device.type == "meta"
