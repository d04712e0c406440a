"""``PackedSequence`` in and out: a packed batch becomes a padded one with lengths, and back."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from fastlstm.nn.stack import States


class Unpacked(NamedTuple):
    """A packed batch as a padded one, its rows in the packed order: longest first."""

    input: Tensor  # (T, B, I)
    lengths: Tensor  # (B), on the CPU
    packed: PackedSequence

    def rows_in(self, value: Tensor, dimension: int) -> Tensor:
        """Put the rows that the user gave into the packed order."""
        order = self.packed.sorted_indices
        return value if order is None else value.index_select(dimension, order)

    def states_in(self, states: States | None) -> States | None:
        """Put the rows of the user's initial states into the packed order."""
        if states is None:
            return None
        return self.rows_in(states[0], 1), self.rows_in(states[1], 1)

    def states_out(self, states: States) -> States:
        """Put the rows of the final states into the order that the user knows."""
        order = self.packed.unsorted_indices
        if order is None:
            return states
        return states[0].index_select(1, order), states[1].index_select(1, order)

    def pack(self, output: Tensor) -> PackedSequence:
        """The output (T, B, ·), packed as the input was."""
        return self.as_packed(pack_padded_sequence(output, self.lengths).data)

    def as_packed(self, data: Tensor) -> PackedSequence:
        """Data (N, ·) in the order of the packed input."""
        return PackedSequence(
            data,
            self.packed.batch_sizes,
            self.packed.sorted_indices,
            self.packed.unsorted_indices,
        )


def unpack(packed: PackedSequence) -> Unpacked:
    """Pad a packed batch, its rows left in the packed order."""
    padded, lengths = pad_packed_sequence(PackedSequence(packed.data, packed.batch_sizes))
    return Unpacked(padded, lengths, packed)


def outline(packed: PackedSequence) -> Unpacked:
    """What `unpack` returns, but that nothing stands in the input, which takes no memory."""
    sizes = packed.batch_sizes
    steps, rows = len(sizes), int(sizes[0])
    lengths = (sizes.unsqueeze(-1) > torch.arange(rows, device="cpu")).sum(dim=0)
    shape = (steps, rows, packed.data.shape[-1])
    return Unpacked(packed.data.new_empty(1).expand(shape), lengths, packed)
