"""Vectors for the numbers of a vocabulary: words, pieces of words, characters."""

import dataclasses
import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fastlstm.models.constants import is_checked_here
from fastlstm.models.errors import ModelError, check_count, check_rate
from fastlstm.models.padding import fill_padding


@dataclasses.dataclass(frozen=True)
class EmbeddingConfig:
    """A table of vectors.

    Args:
        vocabulary_size: ``V``, the number of words (or pieces, or characters).
        size: ``E``, the width of a vector.
        word_dropout: the rate at which words of the vocabulary are dropped in training, wherever
            they stand in the batch.
        frozen: whether the vectors stay as they are in training.

    Raises:
        ModelError: an argument is out of its range.
    """

    vocabulary_size: int
    size: int = 128
    word_dropout: float = 0.0
    frozen: bool = False

    def __post_init__(self) -> None:
        check_count("vocabulary_size", self.vocabulary_size)
        check_count("size", self.size)
        check_rate("word_dropout", self.word_dropout)


class Embedding(nn.Module):
    """Look vectors up, and drop whole words in training.

    A dropped word is zero at each place where it stands, as the same word would be known from
    another place (Gal & Ghahramani 2016); the others are scaled up by 1 / (1 - rate). One mask
    serves the whole batch (Merity et al. 2018).

    Vectors begin with a length of about 1 (as those of Ma & Hovy 2016): a rare word keeps much of
    what it began with, and longer vectors would drown what stands beside them.

    Args:
        config: the table's.
        ids: what messages call the ids.
    """

    def __init__(self, config: EmbeddingConfig, ids: str = "ids") -> None:
        super().__init__()
        self.config = config
        self.ids = ids
        self.output_size = config.size
        weight = torch.randn(config.vocabulary_size, config.size) / math.sqrt(config.size)
        self.weight = nn.Parameter(weight, requires_grad=not config.frozen)

    def set_table(self, table: Tensor) -> None:
        """Take over pretrained vectors.

        Args:
            table: (V, E); a row that holds NaN keeps the vector that it has.

        Raises:
            ModelError: the table has another shape.
        """
        if table.shape != self.weight.shape:
            raise ModelError(
                f"table must have the shape {list(self.weight.shape)}, (vocabulary_size, size), "
                f"got {list(table.shape)}"
            )
        unknown = table.isnan().any(1, keepdim=True)
        with torch.no_grad():
            self.weight.copy_(torch.where(unknown, self.weight, table.to(self.weight)))

    def forward(self, ids: Tensor, live: Tensor | None = None) -> Tensor:
        """Vectors (B, T, E) for the ids (B, T) where they are ``live``; padding may hold any id.

        Raises:
            ModelError: an id is not of the vocabulary.
        """
        ids = fill_padding(ids, live)
        self._check(ids)
        vectors = F.embedding(ids, self.weight)
        if self.training and self.config.word_dropout:
            kept = F.dropout(torch.ones_like(self.weight[:, :1]), self.config.word_dropout)
            vectors = vectors * F.embedding(ids, kept)
        return vectors

    def _check(self, ids: Tensor) -> None:
        if ids.is_floating_point() or ids.dtype == torch.bool:
            raise ModelError(f"{self.ids} must be of an integer dtype, got {ids.dtype}")
        if torch.compiler.is_compiling() or not is_checked_here(ids):
            return
        wrong = (ids < 0) | (ids >= len(self.weight))
        if bool(wrong.any()):
            raise ModelError(
                f"{self.ids} must be from 0 to {len(self.weight) - 1}, got {int(ids[wrong][0])}"
            )
