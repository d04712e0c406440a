"""How the back end "triton-grid" divides a product into programs, tiles and slices."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from fastlstm.ops.triton_launch import power_of_two

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

_KEPT = 256
"""How many plans are kept: a call asks for its own several times, and the next one again."""


class Chip(NamedTuple):
    """What a device has."""

    processors: int
    shared: int  # bytes of shared memory, for a program alone on a processor


Grid = tuple[int, int, int, int]
"""The programs, their groups, the tiles of a group and the rows of a tile, as in `Plan`."""


class Product(NamedTuple):
    """What a kernel multiplies in a step by a vector for each row of the batch."""

    of: int  # units, or features of the hidden state: as many as have sums
    sums: int  # of each
    terms: int  # of a sum


class Plan(NamedTuple):
    """How a kernel's work is divided; see `triton_grid_product.py` for slices, chunks and parts."""

    programs: int  # of each group of rows: each has some units
    groups: int
    tiles: int  # of a group
    rows: int  # of a tile
    units: int  # of a program; its features, if those have the sums
    outputs: int  # the sums of a program: those of all its units
    chunks: int  # of a sum
    parts: int  # of a number
    held: int  # slices that are in registers
    batch: int  # chunks that are read at once
    shares: int  # of a sum, each multiplied by another program
    busy: int  # programs that have sums, the first ones: with a projection others may have none
    projection: Plan | None = None  # the same programs; of its weights none are in registers

    @classmethod
    def of_programs(cls, grid: Grid, units: int, product: Product, parts: int, shares: int) -> Plan:
        """A product on such a grid, with no thought to the memory."""
        of_block = units * shares
        chunks = -(-product.terms // (SPAN * shares))
        busy = -(-product.of // of_block) * shares
        return cls(*grid, units, product.sums * of_block, chunks, parts, 0, chunks, shares, busy)

    def within(self, shared: int) -> Plan | None:
        """The same, with weights in registers and batches that fit so many bytes, or None."""
        # A thread has its share of a slice; the tensor cores take sixteen outputs or more.
        of_thread = max(self.outputs, 16) // 2
        held = min(self.chunks * self.parts, _HELD[self.parts] // of_thread)
        free = shared - (self.chunks * self.parts - held) * self.of_slice
        projection = self.projection
        if projection is not None:
            free -= projection.chunks * projection.parts * projection.of_slice
            projection = projection.in_batches(free)
            if projection is None:
                return None
        # On their way into registers slices pass through shared memory.
        if free < held * self.of_slice:
            return None
        return self._replace(held=held, projection=projection).in_batches(free)

    def in_batches(self, free: int) -> Plan | None:
        """With the fewest batches for which so many bytes are enough, all of about one size."""
        most = min(self.chunks, free // (2 * SPAN * self.rows * self.parts))
        # The sums pass through shared memory too.
        if most <= 0 or free < 4 * WARPS * self.outputs * self.rows:
            return None
        return self._replace(batch=-(-self.chunks // -(-self.chunks // most)))

    @property
    def of_slice(self) -> int:
        """The bytes of a slice: SPAN · outputs numbers of 16 bits."""
        return 2 * SPAN * self.outputs

    @property
    def traffic(self) -> int:
        """The bytes that all programs together read in a step of what they multiply."""
        of_row = 2 * self.parts * self.chunks * SPAN
        return self.busy * self.groups * self.tiles * self.rows * of_row

    def weight(self, weight: Tensor, dtype: torch.dtype, parts: int) -> Tensor:
        """From (sums, H, terms) what the programs keep: (programs, parts, outputs, width)."""
        sums, hidden, terms = weight.shape
        width, of_block = self.chunks * SPAN, self.units * self.shares
        blocks = self.programs // self.shares  # of programs, each of which has all shares
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


def _divisions(
    rows: int, hidden: int, features: int | None, shares: int, chip: Chip
) -> Iterator[tuple[Grid, int, int]]:
    """Grids, each with the units of a program and its features; the best come first.

    Sixteen units a program: the fewer programs, the less often what R sees is read. As many groups
    as the processors allow, each of eight rows or more, which are as many as the tensor cores take.
    Sixteen features, as then the fewest programs read what they are made of, or as few as there may
    be.
    """
    for units in (16, 8):
        programs = -(-hidden // (units * shares)) * shares
        groups = min(-(-rows // 8), chip.processors // programs)
        if groups == 0:
            continue
        tile = 8 if -(-rows // groups) <= 8 else 16
        tiles = -(-rows // (groups * tile))
        grid = programs, -(-rows // (tiles * tile)), tiles, tile
        if features is None:
            yield grid, units, units
        else:
            fewest = max(8, power_of_two(-(-features // programs)))
            yield grid, units, max(16, fewest)
            yield grid, units, fewest


def _first_within(plans: Iterable[Plan], chip: Chip) -> Plan | None:
    return next((found for plan in plans if (found := plan.within(chip.shared)) is not None), None)


@lru_cache(_KEPT)
def forward_plan(
    rows: int, hidden: int, parts: int, chip: Chip, features: int | None = None
) -> Plan | None:
    """How the forward kernel multiplies h by R; None if it has no room.

    With a projection, of which the plan has one too, h has so many features.
    """

    def plans() -> Iterator[Plan]:
        for grid, units, own in _divisions(rows, hidden, features, 1, chip):
            plan = Plan.of_programs(grid, units, Product(hidden, 4, features or hidden), parts, 1)
            if features is not None:
                projection = Plan.of_programs(grid, own, Product(features, 1, hidden), parts, 1)
                plan = plan._replace(projection=projection)
            yield plan

    return _first_within(plans(), chip)


def backward_plan(
    rows: int, hidden: int, gates: int, parts: int, chip: Chip, features: int | None = None
) -> Plan | None:
    """How the backward kernel multiplies gradients by the transposed R; None if it has no room.

    The sums are those of units, or with a projection of features, and those of its plan of units.
    """
    return _backward_plan(rows, hidden, gates * hidden, parts, chip, features, _MOST_TRAFFIC)


@lru_cache(_KEPT)
def _backward_plan(
    rows: int,
    hidden: int,
    terms: int,
    parts: int,
    chip: Chip,
    features: int | None,
    most_traffic: float,
) -> Plan | None:
    def plans(shares: int) -> Iterator[Plan]:
        for grid, units, own in _divisions(rows, hidden, features, shares, chip):
            product = Product(features or hidden, 1, terms)
            plan = Plan.of_programs(grid, own, product, parts, shares)
            if features is not None:
                projection = Plan.of_programs(grid, units, Product(hidden, 1, features), parts, 1)
                plan = plan._replace(projection=projection)
            yield plan

    whole = _first_within(plans(1), chip)
    if whole is not None and whole.traffic <= most_traffic:
        return whole
    return _first_within(plans(_SHARES), chip) or whole


def in_parts(x: Tensor, dtype: torch.dtype, parts: int) -> Tensor:
    """From (N, ·, ·) to (N, parts, ·, ·), which add up to x: each rounds what is left of it."""
    found = []
    for _ in range(parts):
        found.append(x.to(dtype))
        x = x - found[-1].to(x.dtype)
    return torch.stack(found, dim=1)
