"""What a tagger reads: sequences of words, of vectors or of images, and how they are batched."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from itertools import pairwise
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from fastlstm.data import DataError, split_groups, split_share
from fastlstm.tasks.errors import TaskError

FEW_SEQUENCES = 20
"""A share of fewer says little: then pieces of them are held out."""

Kind = Literal["words", "vectors", "images"]


class Piece(NamedTuple):
    """Some steps of a sequence that follow each other."""

    sequence: int
    start: int
    stop: int


class StepBatch(NamedTuple):
    """Padded pieces, as the network reads them."""

    inputs: Tensor  # (B, T), (B, T, F) or (B, T, C, height, width)
    lengths: Tensor  # (B)
    characters: Tensor | None  # (B, T, C), where the network reads them


class Steps(Protocol):
    """Sequences in numbers."""

    @property
    def lengths(self) -> Sequence[int]:
        """The steps of each sequence."""
        ...

    def batch(self, pieces: Sequence[Piece]) -> StepBatch:
        """Some pieces of them."""
        ...


class Frames:
    """Sequences of vectors or images.

    Args:
        X: an array or a list of arrays, one for each sequence: `(T,)`, one value a step; `(T, F)`
            vectors; `(T, H, W)` or `(T, C, H, W)` images.

    Raises:
        DataError: there is no sequence, one is empty, of another shape than the first, or holds
            something that is no number.
    """

    def __init__(self, X: Any) -> None:
        self.items = [_frames(index, item) for index, item in enumerate(X)]
        for index, item in enumerate(self.items):
            if item.shape[1:] != self.shape:
                raise DataError(
                    f"sequence {index} has frames of shape {item.shape[1:]}: expected "
                    f"{self.shape}, as sequence 0"
                )

    @property
    def shape(self) -> tuple[int, ...]:
        """Of a frame: (F,) or (C, H, W)."""
        return self.items[0].shape[1:]

    @property
    def kind(self) -> Kind:
        """What a step is."""
        return "vectors" if len(self.shape) == 1 else "images"

    @property
    def lengths(self) -> list[int]:
        """The frames of each sequence."""
        return [len(item) for item in self.items]

    def batch(self, pieces: Sequence[Piece]) -> StepBatch:
        """Some pieces, with zeros behind the shorter ones."""
        chosen = take(self.items, pieces)
        lengths = torch.tensor([len(item) for item in chosen])
        dtype = np.result_type(*{item.dtype for item in chosen})
        padded = np.zeros((len(chosen), int(lengths.max()), *self.shape), dtype)
        for row, item in zip(padded, chosen, strict=True):
            row[: len(item)] = item
        return StepBatch(torch.from_numpy(padded), lengths, None)

    def statistics(self, pieces: Sequence[Piece]) -> tuple[Tensor, Tensor]:
        """The mean and spread of each feature, or channel, over some pieces."""
        axes = (0,) if self.kind == "vectors" else (0, 2, 3)
        chosen = take(self.items, pieces)
        count = sum(item.size for item in chosen) / self.shape[0]
        mean = sum(item.sum(axis=axes, dtype=np.float64) for item in chosen) / count
        centre = mean if self.kind == "vectors" else np.reshape(mean, (-1, 1, 1))
        square = sum(((item - centre) ** 2).sum(axis=axes) for item in chosen) / count
        return torch.tensor(mean).float(), torch.tensor(np.sqrt(square)).float()


def read_tokens(X: Any) -> list[list[str]] | None:
    """Sequences of tokens as lists; None where they are arrays of numbers.

    Raises:
        DataError: there is no sequence, one is empty, or holds something that is no text.
    """
    if isinstance(X, str) or not hasattr(X, "__len__"):
        raise DataError(f"a {type(X).__name__}: expected a list of sequences")
    if len(X) == 0:
        raise DataError("no sequences: expected at least one")
    sequences = list(X)
    if isinstance(sequences[0], str):
        raise DataError(
            f"sequence 0 is the text {_shortened(sequences[0])!r}: expected a list of tokens"
        )
    if not any(_holds_text(item) for item in sequences):
        return None
    for index, item in enumerate(sequences):
        if isinstance(item, str) or not hasattr(item, "__len__") or len(item) == 0:
            raise DataError(f"sequence {index} is {item!r}: expected a list of tokens, not empty")
        wrong = next((step for step, token in enumerate(item) if not isinstance(token, str)), None)
        if wrong is not None:
            raise DataError(
                f"sequence {index} holds a {type(item[wrong]).__name__} at step {wrong}: expected "
                "tokens, which are text"
            )
    return [[str(token) for token in item] for item in sequences]


def hold_out(
    lengths: Sequence[int], most: int | None, share: float, groups: Sequence[Hashable] | None
) -> tuple[list[Piece], list[Piece]]:
    """What to train on, and what to choose the best epoch by.

    Args:
        lengths: the steps of each sequence.
        most: the most steps of a piece to train on; None: sequences stay whole.
        share: what is held out of the groups if there are some, else of the sequences; where these
            are fewer than 20, of the pieces.
        groups: of each sequence.

    Raises:
        TaskError: there is one piece alone, or not a group for each sequence.
        DataError: a share that cannot be.
    """
    count = len(lengths)
    if groups is not None and len(groups) != count:
        raise TaskError(f"{len(groups)} groups for {count} sequences: expected one each")
    pieces = pieces_of(lengths, range(count), most)
    if not share:
        return pieces, []
    if groups is None and count < FEW_SEQUENCES:
        if len(pieces) == 1:
            raise TaskError(
                f"1 sequence of {lengths[0]} steps: a share of it cannot be held out for "
                "validation; expected more, or validation=0"
            )
        kept, held_out = split_share(len(pieces), share)
        return [pieces[index] for index in kept], [pieces[index] for index in held_out]
    kept, held_out = split_share(count, share) if groups is None else split_groups(groups, share)
    return pieces_of(lengths, kept.tolist(), most), pieces_of(lengths, held_out.tolist(), None)


def pieces_of(lengths: Sequence[int], indices: Sequence[int], most: int | None) -> list[Piece]:
    """Some of the sequences, cut into as few pieces of at most `most` steps, about equally long."""
    pieces = []
    for index in indices:
        length = lengths[index]
        count = 1 if most is None else -(-length // most)
        bounds = [length * part // count for part in range(count + 1)]
        pieces += [Piece(index, *pair) for pair in pairwise(bounds)]
    return pieces


def take(rows: Sequence[Any], pieces: Sequence[Piece]) -> list[Any]:
    """What stands at some pieces of sequences."""
    return [rows[index][start:stop] for index, start, stop in pieces]


def _holds_text(item: Any) -> bool:
    if isinstance(item, np.ndarray):
        return item.dtype.kind == "U" or (item.dtype == object and len(item) > 0)
    return isinstance(item, (list, tuple)) and any(isinstance(token, str) for token in item)


def _shortened(text: str) -> str:
    return text if len(text) <= 30 else f"{text[:29]}…"


def _frames(index: int, item: Any) -> np.ndarray:
    if isinstance(item, Tensor):
        item = item.detach().cpu().numpy()
    try:
        values = np.asarray(item)
        if values.dtype != np.uint8:  # images as they are in files: a fourth of the memory
            values = values.astype(np.float32)
    except (ValueError, TypeError) as error:
        raise DataError(f"sequence {index} is no array of numbers: {error}") from error
    if values.ndim == 1:
        values = values[:, None]
    if values.ndim == 3:
        values = values[:, None]
    if values.ndim not in (2, 4) or 0 in values.shape:
        raise DataError(
            f"sequence {index} has the shape {np.shape(item)}: expected (T,), (T, F), (T, H, W) or "
            "(T, C, H, W), none of them 0"
        )
    finite = np.isfinite(values)
    if not finite.all():
        step = int(np.argwhere(~finite)[0][0])
        raise DataError(
            f"sequence {index} holds {values[~finite][0]} at step {step}: expected numbers only"
        )
    return values
