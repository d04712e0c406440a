"""How the Triton kernels are called, and the products between them, which are torch's."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fastlstm.ops import sums
from fastlstm.ops.arguments import ScanArguments, working_dtype

TILE = 1_024
"""The elements of a program's tile: eight a thread of four warps, which have room for all gates."""

MOST_UNITS = 4_096
"""A program that normalises a layer has all of its units at once, in sixteen warps then."""


# Sixteen-bit factors and a product in 32 bits: PyTorch has it for CUDA alone, from 2.8 on. (For
# AMD's GPUs, which are called "cuda" too, the operator is there, and refuses in some versions.)
_HAS_WIDE_PRODUCT = "dtype" in torch.ops.aten.bmm.overloads() and not torch.version.hip


def on_device_of(tensor: Tensor) -> AbstractContextManager[object]:
    """A block in which kernels are launched on a tensor's device, whichever is the current one."""
    kind = tensor.device.type
    return nullcontext() if kind == "cpu" else getattr(torch, kind).device(tensor.device)


def allows_tf32() -> bool:
    """Whether products of float32 may round their factors to ten bits on a CUDA device."""
    settings = torch.backends.cuda.matmul
    if hasattr(settings, "fp32_precision"):  # from PyTorch 2.9 on; the old name may raise then
        return settings.fp32_precision == "tf32"
    return bool(settings.allow_tf32)


class Launch(NamedTuple):
    """How a kernel over rows and units is launched."""

    grid: tuple[int, int]
    rows: int  # of a program's tile, as its units a power of two
    units: int
    warps: int

    @classmethod
    def over(cls, rows: int, units: int, whole_rows: bool = False) -> Launch:
        """The launch for so many rows and units; with ``whole_rows`` a program has all units."""
        of_units = power_of_two(units) if whole_rows else min(power_of_two(units), 128)
        of_rows = min(power_of_two(rows), max(1, TILE // of_units))
        grid = (-(-rows // of_rows), -(-units // of_units))
        return cls(grid, of_rows, of_units, max(4, of_rows * of_units * 4 // TILE))

    def run(self, kernel: Any, **arguments: Any) -> None:
        """Launch a kernel; its arguments by their names, so that none takes another's place."""
        kernel[self.grid](**arguments, BLOCK_B=self.rows, BLOCK_H=self.units, num_warps=self.warps)


def constants(arguments: ScanArguments) -> dict[str, Any]:
    """The numbers that the kernels of the cell are compiled for."""
    return {
        "H": arguments.hidden_size,
        "GATES": arguments.gate_count,
        "EPSILON": arguments.norm_epsilon,
        "CLIP": arguments.cell_clip,
        "ZONEOUT_CELL": arguments.zoneout_cell,
        "ZONEOUT_HIDDEN": arguments.zoneout_hidden,
    }


def contiguous(arguments: ScanArguments) -> ScanArguments:
    """The same arguments, each tensor contiguous."""
    return arguments._replace(
        **{
            name: value.contiguous()
            for name, value in arguments._asdict().items()
            if isinstance(value, Tensor)
        }
    )


def times(a: Tensor, b: Tensor) -> Tensor:
    """(M, K) times (K, N); of 16-bit floats in float32, as their sums are."""
    return product(a.unsqueeze(0), b.unsqueeze(0)).squeeze(0)


def product(
    a: Tensor, b: Tensor, add_to: Tensor | None = None, row_sums: Tensor | None = None
) -> Tensor:
    """See ``sums.Product``."""
    wide = working_dtype(a.dtype)
    if row_sums is not None:
        torch.sum(a, dim=-1, dtype=wide, out=row_sums)
    if a.dtype == wide:
        return sums.product(a, b, add_to)
    if a.is_cuda and _HAS_WIDE_PRODUCT:
        found = torch.bmm(a, b.to(a.dtype), out_dtype=wide)
    else:
        found = torch.bmm(a.to(wide), b.to(wide))
    return found if add_to is None else add_to.add_(found)


def power_of_two(number: int) -> int:
    """The least that is no less."""
    return 1 << (number - 1).bit_length()
