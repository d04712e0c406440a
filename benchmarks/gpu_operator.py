"""The operator with any of its switches on a device, against the equations in float64 on the CPU.

The arguments are random, with the weights as large as an LSTM's initial ones. What stands in the
padding of a ragged batch is NaN on the device: none of it may reach a result.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu_plan import OPERATOR_SWITCHES, Configuration
from fastlstm.ops import ScanArguments, ScanOutputs, equations, scan
from fastlstm.ops.arguments import DIFFERENTIABLE, gate_count, parameter_shapes

FEATURES = 4
"""Of the input, where only the recurrence is of interest."""

LAYER_SWITCHES = {
    "proj_size": ("projection",),
    "peephole": ("peephole",),
    "layer_norm": ("layer_norm",),
    "coupled_gates": ("coupled_gates",),
    "recurrent_dropout": ("recurrent_mask",),
    "zoneout": ("zoneout_masks",),
    "cell_clip": ("cell_clip",),
}
"""What a layer's switch is to the operator; the others act outside it."""

_NEEDED_FOR = {
    "weight_hr": "projection",
    "weight_peephole": "peephole",
    "norm_ih": "layer_norm",
    "norm_hh": "layer_norm",
    "norm_cell": "layer_norm",
    "norm_cell_bias": "layer_norm",
    "reset_h": "reset_state",
    "reset_c": "reset_state",
}


def make_arguments(configuration: Configuration, switches: Iterable[str]) -> ScanArguments:
    """Random arguments on the CPU, of the configuration's precision and sizes."""
    on = frozenset(switches)
    assert on <= set(OPERATOR_SWITCHES), on
    steps, rows, hidden = configuration.steps, configuration.rows, configuration.hidden
    recurrent = max(1, hidden // 2) if "projection" in on else hidden
    dtype = getattr(torch, configuration.dtype)
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        value = torch.randn(*shape, generator=generator, dtype=torch.float64)
        return value.to(dtype).requires_grad_()

    def chance(rate: float, *shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator) < rate

    gates = gate_count("coupled_gates" in on)
    found: dict[str, Any] = {
        "input": normal(steps, rows, FEATURES),
        "h_0": normal(rows, recurrent),
        "c_0": normal(rows, hidden),
        "reset_h": normal(rows, recurrent),
        "reset_c": normal(rows, hidden),
    }
    for name, shape in parameter_shapes(gates, hidden, recurrent, FEATURES).items():
        bound = 1.0 if name.startswith("norm") or len(shape) == 1 else shape[-1] ** -0.5
        found[name] = (normal(*shape).detach() * bound).to(dtype).requires_grad_()
    for name in ("bias_ih", "bias_hh", "norm_cell_bias"):
        if "no_bias" in on:
            found[name] = None
    for name, switch in _NEEDED_FOR.items():
        if switch not in on:
            found[name] = None
    if "recurrent_mask" in on:
        found["recurrent_mask"] = chance(0.7, rows, recurrent).to(dtype) / 0.7
    if "zoneout_rates" in on:
        found.update(zoneout_cell=0.3, zoneout_hidden=0.2)
    if "zoneout_masks" in on:
        found["zoneout_cell_mask"] = chance(0.3, steps, rows, hidden)
        found["zoneout_hidden_mask"] = chance(0.3, steps, rows, recurrent)
    if "lengths" in on:
        lengths = torch.randint(0, steps + 1, (rows,), generator=generator)
        lengths[0], lengths[-1] = steps, 0 if rows > 1 else steps
        found["lengths"] = lengths
    if on & {"reset", "reset_state"}:
        found["reset"] = chance(0.4, steps, rows)
    return ScanArguments(
        **found,
        coupled_gates="coupled_gates" in on,
        reverse="reverse" in on,
        cell_clip=0.8 if "cell_clip" in on else 0.0,
        save_every=configuration.save_every,
    )


def switches_of(configuration: Configuration) -> Sequence[str]:
    """The operator's switches that a configuration has on."""
    if configuration.part == "operator":
        return configuration.switch.split("+") if configuration.switch else ()
    return LAYER_SWITCHES.get(configuration.switch, ())


def on_device(arguments: ScanArguments, device: torch.device, backend: str) -> ScanArguments:
    """The same on a device, for a back end, with NaN in the padding."""
    moved = {
        name: _leaf(value.detach().to(device), value.requires_grad)
        for name, value in arguments._asdict().items()
        if isinstance(value, Tensor)
    }
    if arguments.lengths is not None:
        steps = torch.arange(arguments.input.shape[0], device=device).unsqueeze(-1)
        padding = (steps >= moved["lengths"]).unsqueeze(-1)
        moved["input"] = _leaf(moved["input"].detach().masked_fill(padding, torch.nan), True)
    return arguments._replace(**moved, backend=backend)


def _leaf(value: Tensor, requires_grad: bool) -> Tensor:
    return value.requires_grad_(requires_grad)


def results(
    arguments: ScanArguments, precision: torch.dtype, by_equations: bool = False
) -> dict[str, Tensor]:
    """Every output, and the gradient of a random weighting of all of them.

    The weights are rounded to ``precision``, so that they are the same for all.
    """
    found = _weighted(equations.scan(arguments) if by_equations else scan(arguments), arguments)
    return _with_gradients(found, _cotangents(found, precision), arguments)


def captured_results(arguments: ScanArguments, precision: torch.dtype) -> dict[str, Tensor]:
    """What ``results`` returns, of a replay of the operator in a CUDA graph."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):  # what is compiled or allocated once is, before the graph
        found = _weighted(scan(arguments), arguments)
        cotangents = _cotangents(found, precision)
        _with_gradients(found, cotangents, arguments)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        recorded = _with_gradients(_weighted(scan(arguments), arguments), cotangents, arguments)
    graph.replay()
    torch.cuda.synchronize()
    return {name: value.clone() for name, value in recorded.items()}


def _weighted(found: ScanOutputs, arguments: ScanArguments) -> tuple[Tensor, ...]:
    """The outputs that a loss may depend on: gates and cells where all of them are kept."""
    return tuple(found) if arguments.save_every == 1 else tuple(found[:3])


def _cotangents(found: Sequence[Tensor], precision: torch.dtype) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [
        torch.randn(value.shape, generator=generator).to(precision).to(value) for value in found
    ]


def _with_gradients(
    found: Sequence[Tensor], cotangents: Sequence[Tensor], arguments: ScanArguments
) -> dict[str, Tensor]:
    names = [name for name in DIFFERENTIABLE if getattr(arguments, name) is not None]
    gradients = torch.autograd.grad(
        found, [getattr(arguments, name) for name in names], cotangents, materialize_grads=True
    )
    outputs = dict(zip(ScanOutputs._fields, (value.detach() for value in found), strict=False))
    return {**outputs, **{f"d_{n}": d for n, d in zip(names, gradients, strict=True)}}


def expected(arguments: ScanArguments) -> dict[str, Tensor]:
    """What the equations say, in float64."""
    return results(_in(arguments, torch.float64), arguments.input.dtype, by_equations=True)


def rounded(arguments: ScanArguments) -> dict[str, Tensor]:
    """What the equations come to in the arguments' own precision."""
    return results(arguments, arguments.input.dtype, by_equations=True)


def _in(arguments: ScanArguments, dtype: torch.dtype) -> ScanArguments:
    return arguments._replace(
        **{
            name: _leaf(value.detach().to(dtype), value.requires_grad)
            for name, value in arguments._asdict().items()
            if isinstance(value, Tensor) and value.is_floating_point()
        }
    )
