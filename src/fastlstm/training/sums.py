"""Sums over batches that are read once, as reading a number waits until a GPU has computed it."""

from __future__ import annotations

import torch
from torch import Tensor


def finest(device: torch.device) -> torch.dtype:
    """float64, where the device has it."""
    return torch.float32 if device.type == "mps" else torch.float64


class RunningSums:
    """Sums by name, in float64 where the device has it.

    They are those of Python's numbers, bit for bit: each number is added in its turn.

    Args:
        names: of the sums, which begin at zero.
    """

    def __init__(self, *names: str) -> None:
        self._sums: dict[str, Tensor | float] = dict.fromkeys(names, 0.0)

    def add(self, name: str, value: Tensor | float) -> None:
        """Add a number to a sum; a tensor `()` is not read."""
        if isinstance(value, Tensor):
            value = value.detach().to(finest(value.device))
        self._sums[name] = self._sums[name] + value

    def read(self) -> dict[str, float]:
        """All sums, with one wait for the device."""
        unread = {name: value for name, value in self._sums.items() if isinstance(value, Tensor)}
        numbers = torch.stack(list(unread.values())).tolist() if unread else []
        return self._sums | dict(zip(unread, numbers, strict=True))  # type: ignore[return-value]
