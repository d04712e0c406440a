"""The real steps of a ragged batch without its padding, so that nobody works on that."""

from functools import cached_property

import torch
from torch import Tensor

from fastlstm.ops.arguments import ScanArguments
from fastlstm.ops.equations import live_at

Rows = slice | Tensor
"""Some of the rows of a tensor: an index of its first dimension."""


class RealSteps:
    """What is (T, B, ·) as (N, ·): one row for each real step of each row of the batch.

    They stand in the order of time, and those of one time step in the order of the batch. Without
    lengths all T · B steps are real. What stands in the padding is never read.
    """

    def __init__(self, arguments: ScanArguments) -> None:
        self._steps, self._rows = arguments.input.shape[:2]
        self._reverse = arguments.reverse
        self._lengths = None if arguments.lengths is None else arguments.lengths.long()

    @property
    def count(self) -> int:
        """N."""
        return self._steps * self._rows if self._lengths is None else len(self._places)

    def of(self, x: Tensor) -> Tensor:
        """(T, B, ·) → (N, ·)."""
        flat = x.flatten(0, 1)
        return flat if self._lengths is None else flat.index_select(0, self._places)

    def padded(self, x: Tensor) -> Tensor:
        """(N, ·) → (T, B, ·), with zeros in the padding."""
        if self._lengths is not None:
            flat = x.new_zeros(self._steps * self._rows, *x.shape[1:])
            x = flat.index_copy_(0, self._places, x)
        return x.unflatten(0, (self._steps, self._rows))

    def of_each_row(self, x: Tensor) -> Tensor:
        """(B, ·) → (N, ·): what a row of the batch has, at each of its steps."""
        if self._lengths is None:
            return x.expand(self._steps, *x.shape).flatten(0, 1)
        return x.index_select(0, self._places % self._rows)

    def before(self, states: Tensor, initial: Tensor) -> Tensor:
        """(T, B, ·) and (B, ·) → (N, ·): the state that each real step finds."""
        if self._lengths is None:
            parts = (states[1:], initial[None]) if self._reverse else (initial[None], states[:-1])
            return torch.cat(parts).flatten(0, 1)
        if self._reverse:  # a row starts at its own end
            is_first = self._places // self._rows == self.of_each_row(self._lengths) - 1
            previous = self._places + self._rows
        else:
            is_first = self._places < self._rows
            previous = self._places - self._rows
        # The first step of a row has none before it: there any will do at first.
        previous = torch.where(is_first, self._places, previous)
        found = states.flatten(0, 1).index_select(0, previous)
        firsts = is_first.nonzero().squeeze(1)
        starting = self._places.index_select(0, firsts) % self._rows
        return found.index_copy_(0, firsts, initial.index_select(0, starting))

    def at(self, t: int) -> tuple[slice, Rows]:
        """Where in (N, ·) those of one time step are, and which rows of the batch they are."""
        if self._lengths is None:
            return slice(t * self._rows, (t + 1) * self._rows), slice(None)
        return slice(self._starts[t], self._starts[t + 1]), self._live[t].nonzero().squeeze(1)

    @cached_property
    def _live(self) -> Tensor:
        """(T, B) bool."""
        assert self._lengths is not None
        return live_at(self._steps, self._lengths)

    @cached_property
    def _places(self) -> Tensor:
        """(N): t · B + b of each."""
        return self._live.flatten().nonzero().squeeze(1)

    @cached_property
    def _starts(self) -> list[int]:
        """How many there are before each time step, and in all."""
        return [0, *self._live.sum(dim=1).cumsum(dim=0).tolist()]


class PaddedSteps(RealSteps):
    """All T · B steps, with zeros for those that are not real: nothing waits for a device."""

    @property
    def count(self) -> int:
        """N, the padding counted."""
        return self._steps * self._rows

    def of(self, x: Tensor) -> Tensor:
        """(T, B, ·) → (N, ·)."""
        if self._lengths is not None:
            real = self._live.reshape(self._live.shape + (1,) * (x.dim() - 2))
            x = x.masked_fill(~real, 0)
        return x.flatten(0, 1)

    def padded(self, x: Tensor) -> Tensor:
        """(N, ·) → (T, B, ·)."""
        return x.unflatten(0, (self._steps, self._rows))

    def of_each_row(self, x: Tensor) -> Tensor:
        """(B, ·) → (N, ·)."""
        return x.expand(self._steps, *x.shape).flatten(0, 1)

    def before(self, states: Tensor, initial: Tensor) -> Tensor:
        """(T, B, ·) and (B, ·) → (N, ·): the state that each step finds."""
        if not self._reverse:
            return torch.cat((initial[None], states[:-1])).flatten(0, 1)
        found = torch.cat((states[1:], initial[None]))
        if self._lengths is not None:  # a row starts at its own end
            steps = torch.arange(self._steps, device=states.device).unsqueeze(-1)
            found = torch.where((steps == self._lengths - 1).unsqueeze(-1), initial, found)
        return found.flatten(0, 1)
