"""Examples by their number, and batches of whatever form as trees of tensors."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy
import torch
from torch import Tensor


class Examples(Protocol):
    """A part of the data: training or validation."""

    def __len__(self) -> int:
        """How many examples there are."""
        ...

    @property
    def lengths(self) -> Sequence[int] | numpy.ndarray | None:
        """The time steps of each example, to batch similar ones; None where all are alike."""
        ...

    def batch(self, indices: Sequence[int]) -> Any:
        """The batch of some examples: tensors in tuples, lists, dicts or dataclasses, on the CPU.

        It must depend on nothing but `indices` and the global random generators.
        """
        ...


def map_tensors(value: Any, function: Callable[[Tensor], Any]) -> Any:
    """The same tree with `function` of each tensor in place of the tensor.

    Goes through tuples, named tuples, lists, dicts and dataclasses; all else is kept as it is.
    """
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):  # a named tuple
        return type(value)(*(map_tensors(item, function) for item in value))
    if isinstance(value, (tuple, list)):
        return type(value)(map_tensors(item, function) for item in value)
    if isinstance(value, Mapping):
        return {name: map_tensors(item, function) for name, item in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value) if field.init]
        changed = {name: map_tensors(getattr(value, name), function) for name in names}
        return dataclasses.replace(value, **changed)
    return value


def is_finite(value: Any) -> bool:
    """Whether no floating-point tensor in the tree holds NaN or an infinity."""
    finite = True

    def look(tensor: Tensor) -> Tensor:
        nonlocal finite
        if tensor.is_floating_point():
            finite = finite and bool(torch.isfinite(tensor).all())
        return tensor

    map_tensors(value, look)
    return finite
