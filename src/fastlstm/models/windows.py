"""The units of a window of a series: where it lies and how far it spreads."""

from typing import Literal

import torch
from torch import Tensor

Normalization = Literal["none", "standard", "last", "scale"]
"""How a window's units are found.

- "none": the data's own.
- "standard": its mean and standard deviation.
- "last": its last value and its standard deviation (the shift as in Zeng et al. 2023).
- "scale": zero and its mean absolute value, for what is never negative (Salinas et al. 2020).
"""

FLAT = 100
"""A spread below so many roundings of the values is none."""


def window_units(kind: Normalization, values: Tensor) -> tuple[Tensor, Tensor]:
    """Where each channel of each window lies and how far it spreads.

    A window without a spread is measured in its own size, and by 1 where that is less: so the
    scale is above zero for every window.

    Args:
        kind: one of ``Normalization``.
        values: (B, W, C), NaN where a value is missing.

    Returns:
        ``(location, scale)``, (B, 1, C) each; 0 and 1 for a window without any value.
    """
    observed = ~values.isnan()
    filled = torch.where(observed, values, 0.0)
    count = observed.sum(1, keepdim=True).clamp(min=1)
    size = filled.abs().sum(1, keepdim=True) / count
    zero, one = torch.zeros_like(size), torch.ones_like(size)
    if kind == "none":
        return zero, one
    if kind == "scale":
        return zero, torch.where(size > 0, size, one)
    mean = filled.sum(1, keepdim=True) / count
    deviation = torch.where(observed, filled - mean, 0.0)
    spread = (deviation.square().sum(1, keepdim=True) / count).sqrt()
    rounding = FLAT * torch.finfo(values.dtype).eps * size
    scale = torch.where(spread > rounding, spread, size.clamp(min=1))
    return (mean if kind == "standard" else last_value(filled, observed)), scale


def last_value(filled: Tensor, observed: Tensor) -> Tensor:
    """The last value of each channel that is there, (B, 1, C), from (B, W, C); 0 if none is."""
    steps = torch.arange(filled.shape[1], device=filled.device).unsqueeze(-1)
    last = torch.where(observed, steps, 0).amax(1, keepdim=True)
    return filled.gather(1, last)
