"""Sequences of vectors, of equal or unequal lengths, and the batches that they make."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from fastlstm.data.errors import DataError

# Sequences that are looked at together: what is made of them on the way stays small.
_AT_ONCE = 8192


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
        # An array stays one: a million rows of a table are not a million arrays.
        self._items = _sequences_of(values) if array else _sequence_list(values)
        self.feature_count: int = self._items[0].shape[1]

    @property
    def lengths(self) -> np.ndarray:
        """The number of steps of each sequence, int32 `(N,)`."""
        if isinstance(self._items, np.ndarray):
            return np.full(len(self._items), self._items.shape[1], dtype=np.int32)
        return np.array([len(item) for item in self._items], dtype=np.int32)

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int) -> np.ndarray:
        return self._items[index]

    def batch(self, indices: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Some of the sequences as one padded tensor `(B, T, F)`, and their lengths `(B,)`."""
        if isinstance(self._items, np.ndarray):
            chosen = self._items[np.asarray(indices)]
            return torch.from_numpy(chosen), torch.full((len(chosen),), chosen.shape[1])
        return pad_vectors([self._items[index] for index in indices])

    def moments(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The mean and the spread of each feature over all steps of some of the sequences.

        Returns:
            float32 `(F,)` each.
        """
        nothing = np.zeros(self.feature_count)
        count = sum(len(steps) for steps in self._steps(indices))
        total = sum(
            (steps.sum(axis=0, dtype=np.float64) for steps in self._steps(indices)), nothing
        )
        mean = total / count
        squares = sum(
            (((steps - mean) ** 2).sum(axis=0) for steps in self._steps(indices)), nothing
        )
        return mean.astype(np.float32), np.sqrt(squares / count).astype(np.float32)

    def _steps(self, indices: np.ndarray) -> Iterator[np.ndarray]:
        """The steps of some sequences: arrays `(any, F)`."""
        for first in range(0, len(indices), _AT_ONCE):
            chosen = indices[first : first + _AT_ONCE]
            if isinstance(self._items, np.ndarray):
                yield self._items[chosen].reshape(-1, self.feature_count)
            else:
                yield from (self._items[index] for index in chosen.tolist())


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
    sequences: Sequence[Sequence[int] | np.ndarray], padding: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Put lists of numbers (tokens, classes) into one batch.

    Args:
        sequences: B lists or arrays of integers.
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


def _sequences_of(values: np.ndarray) -> np.ndarray:
    """An array as float32 `(N, T, F)`, checked."""
    if 0 in values.shape:
        _sequence(0, values[0])  # refuses it
    try:
        items = np.asarray(values, dtype=np.float32)
    except (ValueError, TypeError) as error:
        raise DataError(f"sequence 0 is no array of numbers: {error}") from error
    items = items[:, :, None] if items.ndim == 2 else items
    for first in range(0, len(items), _AT_ONCE):
        finite = np.isfinite(items[first : first + _AT_ONCE]).all(axis=(1, 2))
        if not finite.all():
            wrong = first + int(np.argmin(finite))
            _sequence(wrong, items[wrong])  # refuses it
    return items


def _sequence_list(values: Iterable[Any]) -> list[np.ndarray]:
    items = [_sequence(index, item) for index, item in enumerate(values)]
    for index, item in enumerate(items):
        if item.shape[1] != items[0].shape[1]:
            raise DataError(
                f"sequence {index} has {item.shape[1]} features: expected "
                f"{items[0].shape[1]}, as sequence 0"
            )
    return items


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
