"""Batches to where a network computes."""

from __future__ import annotations

from typing import TypeVar

from torch import nn

from fastlstm.training import map_tensors

Tree = TypeVar("Tree")


def beside(network: nn.Module, batch: Tree) -> Tree:
    """A batch, whatever its form, on the device of a network."""
    device = next(network.parameters()).device
    return map_tensors(batch, lambda tensor: tensor.to(device))
