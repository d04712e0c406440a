"""The derivative of the backward pass, for derivatives of any order.

The backward pass is itself a function of the scan's arguments and of the cotangents. Here that
function is written with the reference equations and PyTorch's automatic derivatives, so that
what comes out is differentiable again. ``torch.func.vjp`` and not ``torch.autograd.grad`` does
that: one argument may be made from another (a layer's input is made from the layer below), and a
gradient here is the partial one, with all others held fixed.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from fastlstm.ops import equations
from fastlstm.ops.arguments import (
    BATCH_DIMENSION,
    DIFFERENTIABLE,
    OUTPUT_BATCH_DIMENSION,
    PARAMETERS,
    Cotangents,
    ScanArguments,
)


def gradients(
    cotangents: Cotangents,
    arguments: ScanArguments,
    needs: Sequence[bool],
    groups: int,
    second_cotangents: Sequence[Tensor | None],
) -> list[Tensor | None]:
    """The gradients of the cotangents and of the scan's arguments through ``scan_backward``.

    What the scan returned and saved, which ``scan_backward`` takes too, has none: it is a
    function of the scan's arguments, to which all of the derivative belongs.

    Args:
        cotangents: as given to ``scan_backward``.
        arguments: as given to ``scan_backward``.
        needs: as given to ``scan_backward``: which gradients it returned.
        groups: as given to ``scan_backward``.
        second_cotangents: the gradients of the loss with respect to what it returned.
    """
    seconds = {
        name: second
        for name, need, second in zip(DIFFERENTIABLE, needs, second_cotangents, strict=True)
        if need and second is not None
    }
    variables = [*cotangents, *(getattr(arguments, name) for name in DIFFERENTIABLE)]
    positions = [index for index, value in enumerate(variables) if value is not None]

    def first(*values: Tensor) -> tuple[Tensor, ...]:
        replaced = list(variables)
        for index, value in zip(positions, values, strict=True):
            replaced[index] = value
        count = len(Cotangents._fields)
        of_scan = dict(zip(DIFFERENTIABLE, replaced[count:], strict=True))
        return _differentiable_backward(
            Cotangents(*replaced[:count]), arguments._replace(**of_scan), list(seconds), groups
        )

    result: list[Tensor | None] = [None] * len(variables)
    if seconds:
        pull_back = torch.func.vjp(first, *(variables[index] for index in positions))[1]
        for index, gradient in zip(positions, pull_back(tuple(seconds.values())), strict=True):
            result[index] = gradient
    return result


def _differentiable_backward(
    cotangents: Cotangents, arguments: ScanArguments, needed: Sequence[str], groups: int
) -> tuple[Tensor, ...]:
    """The needed gradients that ``scan_backward`` returns, as a differentiable function."""
    if not groups:
        return _backward(cotangents, arguments, needed)
    size = arguments.input.shape[1] // groups
    of_group = [
        _backward(*_rows(cotangents, arguments, slice(start, start + size)), needed)
        for start in range(0, groups * size, size)
    ]
    return tuple(
        torch.stack(parts) if name in PARAMETERS else torch.cat(parts, BATCH_DIMENSION[name])
        for name, parts in zip(needed, zip(*of_group, strict=True), strict=True)
    )


def _backward(
    cotangents: Cotangents, arguments: ScanArguments, needed: Sequence[str]
) -> tuple[Tensor, ...]:
    given = [name for name, value in cotangents._asdict().items() if value is not None]

    def outputs(*values: Tensor) -> tuple[Tensor, ...]:
        scanned = equations.scan(
            arguments._replace(**dict(zip(needed, values, strict=True)))
        )._asdict()
        return tuple(scanned[name] for name in given)

    pull_back = torch.func.vjp(outputs, *(getattr(arguments, name) for name in needed))[1]
    return pull_back(tuple(getattr(cotangents, name) for name in given))


def _rows(
    cotangents: Cotangents, arguments: ScanArguments, rows: slice
) -> tuple[Cotangents, ScanArguments]:
    """What belongs to some of the rows."""

    def part(value: Tensor | None, dimension: int) -> Tensor | None:
        return None if value is None else value.movedim(dimension, 0)[rows].movedim(0, dimension)

    of_rows = [
        part(value, d) for value, d in zip(cotangents, OUTPUT_BATCH_DIMENSION.values(), strict=True)
    ]
    replaced = {name: part(getattr(arguments, name), d) for name, d in BATCH_DIMENSION.items()}
    return Cotangents(*of_rows), arguments._replace(**replaced)
