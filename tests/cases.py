"""Random arguments for the scan, with any combination of the switches."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from fastlstm.ops import ScanArguments
from fastlstm.ops.arguments import DIFFERENTIABLE

SWITCHES = (
    "no_bias",
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
    "reverse",
)
"""Every switch of the operator; the layer's other ones act outside it."""

EVERYTHING = tuple(one for one in SWITCHES if one not in ("no_bias", "zoneout_rates"))
"""All that can be on together."""


def make_arguments(
    switches: Iterable[str] = (),
    *,
    steps: int = 5,
    rows: int = 3,
    features: int = 4,
    hidden: int = 7,
    dtype: torch.dtype = torch.float64,
    seed: int = 0,
    requires_grad: bool = True,
    **others: Any,
) -> ScanArguments:
    """Arguments with these switches on, sized so that no two dimensions are the same."""
    on = frozenset(switches)
    assert on <= set(SWITCHES), on - set(SWITCHES)
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int, scale: float = 1.0) -> Tensor:
        value = torch.randn(*shape, generator=generator, dtype=torch.float64) * scale
        return value.to(dtype).requires_grad_(requires_grad)

    def chance(rate: float, *shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator) < rate

    def given(switch: str, value: Tensor) -> Tensor | None:
        return value if switch in on else None

    recurrent = 6 if "projection" in on else hidden
    gates = (3 if "coupled_gates" in on else 4) * hidden
    bias_ih, bias_hh = normal(gates), normal(gates)
    arguments = ScanArguments(
        input=normal(steps, rows, features),
        h_0=normal(rows, recurrent),
        c_0=normal(rows, hidden),
        reset_h=given("reset_state", normal(rows, recurrent)),
        reset_c=given("reset_state", normal(rows, hidden)),
        weight_ih=normal(gates, features, scale=0.5),
        weight_hh=normal(gates, recurrent, scale=0.5),
        bias_ih=None if "no_bias" in on else bias_ih,
        bias_hh=None if "no_bias" in on else bias_hh,
        weight_hr=given("projection", normal(recurrent, hidden, scale=0.5)),
        weight_peephole=given("peephole", normal(gates // hidden - 1, hidden)),
        norm_ih=given("layer_norm", normal(gates)),
        norm_hh=given("layer_norm", normal(gates)),
        norm_cell=given("layer_norm", normal(hidden)),
        norm_cell_bias=None,
        coupled_gates="coupled_gates" in on,
        reverse="reverse" in on,
        # Small enough that some units are clipped and others are not.
        cell_clip=0.8 if "cell_clip" in on else 0.0,
        **others,
    )
    if "layer_norm" in on and "no_bias" not in on:
        arguments = arguments._replace(norm_cell_bias=normal(hidden))
    if "recurrent_mask" in on:
        mask = chance(0.7, rows, recurrent).to(dtype) / 0.7
        arguments = arguments._replace(recurrent_mask=mask)
    if "zoneout_rates" in on:
        arguments = arguments._replace(zoneout_cell=0.3, zoneout_hidden=0.2)
    if "zoneout_masks" in on:
        arguments = arguments._replace(
            zoneout_cell_mask=chance(0.3, steps, rows, hidden),
            zoneout_hidden_mask=chance(0.3, steps, rows, recurrent),
        )
    if "lengths" in on:
        # One full row, one empty one (in a batch of three), the others in between.
        lengths = torch.randint(0, steps + 1, (rows,), generator=generator)
        lengths[0], lengths[-1] = steps, 0
        arguments = arguments._replace(lengths=lengths)
    if on & {"reset", "reset_state"}:
        arguments = arguments._replace(reset=chance(0.4, steps, rows))
    return arguments


def differentiable(arguments: ScanArguments) -> list[Tensor]:
    """The tensors that have a gradient, in the operator's order."""
    values = (getattr(arguments, name) for name in DIFFERENTIABLE)
    return [value for value in values if value is not None]


def poison_padding(arguments: ScanArguments) -> ScanArguments:
    """The same arguments with NaN in the input wherever a step is not real."""
    if arguments.lengths is None:
        return arguments
    steps = torch.arange(arguments.input.shape[0]).unsqueeze(-1)
    padding = (steps >= arguments.lengths).unsqueeze(-1)
    poisoned = arguments.input.detach().masked_fill(padding, torch.nan)
    return arguments._replace(input=poisoned.requires_grad_(arguments.input.requires_grad))
