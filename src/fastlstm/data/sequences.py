"""Sequences of vectors, of equal or unequal lengths, and the batches that they make."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from fastlstm.data.errors import DataError


class Sequences:
    """N sequences of vectors; sequence i has shape `(T_i, F)`, float32.

    Args:
        values: an array `(N, T, F)`; an array `(N, T)`, which is read as one value a step; or a
            list of N arrays `(T_i, F)` or `(T_i,)`.

    Raises:
        DataError: there is no sequence, one is empty or of another shape, the numbers of features
            differ, or a value is missing (NaN) or infinite; the message names the sequence.
    """

    def __init__(self, values: Any) -> None:
        if isinstance(values, torch.Tensor):
            values = values.detach().cpu().numpy()
        array = isinstance(values, np.ndarray) and values.dtype != object
        if array and values.ndim not in (2, 3):
            raise DataError(
                f"an array of shape {values.shape}: expected (N, T, F) or (N, T), or a list of "
                f"arrays (T, F)"
            )
        if len(values) == 0:
            raise DataError("no sequences: expected at least one")
        self.items = [_sequence(index, item) for index, item in enumerate(values)]
        self.feature_count: int = self.items[0].shape[1]
        for index, item in enumerate(self.items):
            if item.shape[1] != self.feature_count:
                raise DataError(
                    f"sequence {index} has {item.shape[1]} features: expected "
                    f"{self.feature_count}, as sequence 0"
                )

    @property
    def lengths(self) -> list[int]:
        """The number of steps of each sequence."""
        return [len(item) for item in self.items]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> np.ndarray:
        return self.items[index]

    def batch(self, indices: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Some of the sequences as one padded tensor `(B, T, F)`, and their lengths `(B,)`."""
        return pad_vectors([self.items[index] for index in indices])


def pad_vectors(sequences: Sequence[np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
    """Put arrays `(T_i, F)` into one batch, with zeros behind the shorter ones.

    Returns:
        float32 tensor `(B, max T_i, F)` and the lengths `(B,)`, int64.
    """
    lengths = torch.tensor([len(sequence) for sequence in sequences], dtype=torch.int64)
    padded = torch.zeros(len(sequences), int(lengths.max()), sequences[0].shape[1])
    for row, sequence in zip(padded.numpy(), sequences, strict=True):
        row[: len(sequence)] = sequence
    return padded, lengths


def pad_ids(
    sequences: Sequence[Sequence[int]], padding: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Put lists of numbers (tokens, classes) into one batch.

    Args:
        sequences: B lists of integers.
        padding: what stands behind the shorter ones.

    Returns:
        int64 tensor `(B, max T_i)` and the lengths `(B,)`, int64.
    """
    lengths = torch.tensor([len(sequence) for sequence in sequences], dtype=torch.int64)
    padded = torch.full((len(sequences), int(lengths.max())), padding, dtype=torch.int64)
    for row, sequence in zip(padded.numpy(), sequences, strict=True):
        row[: len(sequence)] = sequence
    return padded, lengths


def images_by_rows(images: Any) -> np.ndarray:
    """Grey images as sequences of their rows.

    Args:
        images: `(N, R, C)`; uint8 is divided by 255, other types are taken as they are.

    Returns:
        float32 `(N, R, C)`: R steps of C values.

    Raises:
        DataError: the images have another shape.
    """
    values = np.asarray(images)
    if values.ndim != 3 or 0 in values.shape:
        raise DataError(f"images of shape {values.shape}: expected (N, rows, columns)")
    scaled = values.astype(np.float32)
    return scaled / 255 if values.dtype == np.uint8 else scaled


def images_by_pixels(images: Any) -> np.ndarray:
    """Grey images as sequences of single pixels, row after row.

    Args:
        images: as for `images_by_rows`.

    Returns:
        float32 `(N, R * C, 1)`.

    Raises:
        DataError: as for `images_by_rows`.
    """
    rows = images_by_rows(images)
    return rows.reshape(len(rows), -1, 1)


def _sequence(index: int, item: Any) -> np.ndarray:
    if isinstance(item, torch.Tensor):
        item = item.detach().cpu().numpy()
    try:
        values = np.asarray(item, dtype=np.float32)
    except (ValueError, TypeError) as error:
        raise DataError(f"sequence {index} is no array of numbers: {error}") from error
    if values.ndim == 1:
        values = values[:, None]
    if values.ndim != 2 or 0 in values.shape:
        raise DataError(
            f"sequence {index} has shape {np.shape(item)}: expected (T, F) or (T,), none of them 0"
        )
    finite = np.isfinite(values)
    if not finite.all():
        step, feature = np.argwhere(~finite)[0]
        raise DataError(
            f"sequence {index} holds {values[step, feature]} at step {step}, feature {feature}: "
            f"expected numbers only"
        )
    return values
