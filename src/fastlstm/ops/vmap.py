"""What ``torch.func.vmap`` does with the operators.

Where all examples share the parameters they become rows of one larger batch. That holds for
gradients of single examples too: there the backward pass is told that each example is a group.
Where each example has parameters of its own (an ensemble) they run one after another, since
rows of one batch share their weights.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fastlstm.ops.arguments import (
    BACKWARD_FIELDS,
    BATCH_DIMENSION,
    DIFFERENTIABLE,
    OUTPUT_BATCH_DIMENSION,
    PARAMETERS,
    BackwardCall,
    ScanArguments,
)

_ROWS = {
    **BATCH_DIMENSION,
    **OUTPUT_BATCH_DIMENSION,
    **{f"d_{name}": dimension for name, dimension in OUTPUT_BATCH_DIMENSION.items()},
}
"""Where the rows are, in every argument of both operators that has rows."""

Dims = Sequence[int | None]
"""For each argument the dimension of its examples; None where all share it."""


def scan(info: Any, in_dims: Dims, *flat: Any) -> tuple[tuple[Tensor, ...], tuple[int | None, ...]]:
    """The rule of ``fastlstm::scan``."""
    operator = torch.ops.fastlstm.scan
    if _own_parameters(ScanArguments._fields, in_dims):
        return _one_by_one(operator, flat, in_dims, info.batch_size)
    folded = _fold_all(ScanArguments._fields, flat, in_dims, info.batch_size)
    results, dims = [], []
    for output, rows in zip(operator(*folded), OUTPUT_BATCH_DIMENSION.values(), strict=True):
        kept = output.dim() > 1  # what was not saved has no rows: all examples share it
        results.append(_unfold(output, rows, info.batch_size) if kept else output)
        dims.append(rows if kept else None)
    return tuple(results), tuple(dims)


def scan_backward(
    info: Any, in_dims: Dims, *flat: Any
) -> tuple[tuple[Tensor, ...], tuple[int | None, ...]]:
    """The rule of ``fastlstm::scan_backward``."""
    operator = torch.ops.fastlstm.scan_backward
    size = info.batch_size
    if _own_parameters(BACKWARD_FIELDS, in_dims):
        return _one_by_one(operator, flat, in_dims, size)
    folded = BackwardCall.from_flat(_fold_all(BACKWARD_FIELDS, flat, in_dims, size))
    already = folded.groups
    folded = folded._replace(groups=size * max(already, 1))
    results, dims = [], []
    gradients = operator(*folded.to_flat())
    for name, need, gradient in zip(DIFFERENTIABLE, folded.needs, gradients, strict=True):
        rows = 0 if name in PARAMETERS else _ROWS[name]
        as_it_is = not need or (name in PARAMETERS and not already)  # there: one group each
        results.append(gradient if as_it_is else _unfold(gradient, rows, size))
        dims.append(rows if need else None)
    return tuple(results), tuple(dims)


def _own_parameters(names: Sequence[str], in_dims: Dims) -> bool:
    return any(
        dim is not None for name, dim in zip(names, in_dims, strict=True) if name in PARAMETERS
    )


def _one_by_one(
    operator: Any, flat: Sequence[Any], in_dims: Dims, size: int
) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
    outputs = [operator(*member) for member in _members(flat, in_dims, size)]
    stacked = tuple(torch.stack(examples) for examples in zip(*outputs, strict=True))
    return stacked, (0,) * len(stacked)


def _members(flat: Sequence[Any], in_dims: Dims, size: int) -> list[list[Any]]:
    """The arguments of each example."""
    return [
        [
            value.select(dim, index) if isinstance(value, Tensor) and dim is not None else value
            for value, dim in zip(flat, in_dims, strict=True)
        ]
        for index in range(size)
    ]


def _fold_all(names: Sequence[str], flat: Sequence[Any], in_dims: Dims, size: int) -> list[Any]:
    return [
        _fold(value, dim, _ROWS[name], size)
        if isinstance(value, Tensor) and name in _ROWS
        else value
        for name, value, dim in zip(names, flat, in_dims, strict=True)
    ]


def _fold(value: Tensor, dim: int | None, rows: int, size: int) -> Tensor:
    """Make examples rows: the dimension ``dim`` of the examples joins the dimension ``rows``."""
    if value.dim() - (dim is not None) <= rows:
        return value  # it was not saved, and has no rows
    if dim is None:
        examples = value.unsqueeze(rows).expand(*value.shape[:rows], size, *value.shape[rows:])
    else:
        examples = value.movedim(dim, rows)
    return examples.flatten(rows, rows + 1)


def _unfold(value: Tensor, rows: int, size: int) -> Tensor:
    return value.unflatten(rows, (size, value.shape[rows] // size))
