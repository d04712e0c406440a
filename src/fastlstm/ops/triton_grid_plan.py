"""How the back end "triton-grid" divides a product into programs, tiles and slices."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

WARPS = 8
SPAN = 256
"""The warps of a program and the terms of a slice: those of `triton_grid_product.py`."""

_HELD = {1: 128, 2: 64, 3: 64}
"""The registers of a thread that may hold weights, of 255, by the parts of a number.

Up to 128 more take what is on its way from memory, and those of each part come on top.
"""


_SHARES = 4
_MOST_TRAFFIC = 11e6
"""Into how many shares sums are split on the way back, and from how many bytes of traffic on.

Shares take a second barrier, 1.5 µs, in which an H100 reads 8 MB through its second-level cache at
5.5 TB/s; they save three quarters of the traffic. Estimated, not measured.
"""


class Chip(NamedTuple):
    """What a device has."""

    processors: int
    shared: int  # bytes of shared memory, for a program alone on a processor


class Plan(NamedTuple):
    """How a kernel's work is divided; see `triton_grid_product.py` for slices, chunks and parts."""

    programs: int  # of each group of rows: each has some units
    groups: int
    tiles: int  # of a group
    rows: int  # of a tile
    units: int  # of a program
    outputs: int  # the sums of a program: those of all its units
    chunks: int  # of a sum
    parts: int  # of a number
    held: int  # slices that are in registers
    batch: int  # chunks that are read at once
    shares: int  # of a sum, each multiplied by another program

    @classmethod
    def over(
        cls, rows: int, hidden: int, sums: int, terms: int, parts: int, chip: Chip, shares: int = 1
    ) -> Plan | None:
        """For so many rows of the batch, and units with so many sums of so many terms each.

        None if it does not fit. Sixteen units a program, if they fit: the fewer programs, the less
        often what R sees is read. As many groups as the processors allow, each of eight rows or
        more, which are as many as the tensor cores take.
        """
        chunks = -(-terms // (SPAN * shares))
        for units in (16, 8):
            outputs = sums * units * shares
            programs = -(-hidden // (units * shares)) * shares
            groups = min(-(-rows // 8), chip.processors // programs)
            if groups == 0:
                continue
            tile = 8 if -(-rows // groups) <= 8 else 16
            tiles = -(-rows // (groups * tile))
            groups = -(-rows // (tiles * tile))
            # A slice is SPAN · outputs numbers of 16 bits, of which a thread has its share; the
            # tensor cores take sixteen outputs or more.
            size, of_thread = 2 * SPAN * outputs, max(outputs, 16) // 2
            held = min(chunks * parts, _HELD[parts] // of_thread)
            free = chip.shared - (chunks * parts - held) * size
            most = min(chunks, free // (2 * SPAN * tile * parts))
            # On their way into registers slices pass through shared memory, as the sums do.
            if most > 0 and free >= max(held * size, 4 * WARPS * outputs * tile):
                batch = -(-chunks // -(-chunks // most))  # the fewest, all of about one size
                of_weights = (outputs, chunks, parts, held, batch, shares)
                return cls(programs, groups, tiles, tile, units, *of_weights)
        return None

    @property
    def traffic(self) -> int:
        """The bytes that all programs together read in a step of what they multiply."""
        of_row = 2 * self.parts * self.chunks * SPAN
        return self.programs * self.groups * self.tiles * self.rows * of_row

    def weight(self, weight: Tensor, dtype: torch.dtype, parts: int) -> Tensor:
        """From (sums, H, terms) what the programs keep: (programs, parts, outputs, width)."""
        sums, hidden, terms = weight.shape
        width, of_block = self.chunks * SPAN, self.units * self.shares
        blocks = self.programs // self.shares
        padded = weight.new_zeros(sums, blocks * of_block, self.shares * width)
        padded[:, :hidden, :terms] = weight
        by_program = padded.view(sums, blocks, of_block, self.shares, width).permute(1, 3, 0, 2, 4)
        return in_parts(by_program.reshape(self.programs, -1, width), dtype, parts)

    def vectors(self, like: Tensor, dtype: torch.dtype, parts: int) -> Tensor:
        """Zeros for what the weights are multiplied by, in two halves; on the device of `like`.

        They are (2, all tiles, shares, parts, rows of a tile, width).
        """
        tiles, width = self.groups * self.tiles, self.chunks * SPAN
        return like.new_zeros(2, tiles, self.shares, parts, self.rows, width, dtype=dtype)

    def write(self, vectors: Tensor, x: Tensor) -> None:
        """Write (B, terms) to the first half; of sums that have no shares."""
        _, tiles, _, parts, rows, width = vectors.shape
        padded = x.new_zeros(tiles * rows, width)
        padded[: len(x), : x.shape[1]] = x
        vectors[0, :, 0] = in_parts(padded.unflatten(0, (tiles, rows)), vectors.dtype, parts)


def forward_plan(rows: int, hidden: int, parts: int, chip: Chip) -> Plan | None:
    """How the forward kernel multiplies h by R; None if it has no room."""
    return Plan.over(rows, hidden, 4, hidden, parts, chip)


def backward_plan(rows: int, hidden: int, gates: int, parts: int, chip: Chip) -> Plan | None:
    """How the backward kernel multiplies gradients by the transposed R; None if it has no room."""
    plan = Plan.over(rows, hidden, 1, gates * hidden, parts, chip)
    if plan is not None and plan.traffic <= _MOST_TRAFFIC:
        return plan
    return Plan.over(rows, hidden, 1, gates * hidden, parts, chip, _SHARES) or plan


def in_parts(x: Tensor, dtype: torch.dtype, parts: int) -> Tensor:
    """From (N, ·, ·) to (N, parts, ·, ·), which add up to x: each rounds what is left of it."""
    found = []
    for _ in range(parts):
        found.append(x.to(dtype))
        x = x - found[-1].to(x.dtype)
    return torch.stack(found, dim=1)
