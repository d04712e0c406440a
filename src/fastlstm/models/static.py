"""What belongs to a series as a whole, as one vector."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fastlstm.models.embedding import Embedding, EmbeddingConfig
from fastlstm.models.standardise import Standardise

WIDEST = 50
"""The greatest width of a category's vector."""


class StaticEncoder(nn.Module):
    """Standardised numbers, and a vector for each category.

    A property of n categories has vectors of the width (n + 1) // 2, ``WIDEST`` at most.

    Args:
        numbers: how many numbers there are.
        categories: how many categories each categorical property has.
    """

    def __init__(self, numbers: int, categories: Sequence[int]) -> None:
        super().__init__()
        widths = [min(WIDEST, (count + 1) // 2) for count in categories]
        self.output_size = numbers + sum(widths)
        self.standardise = Standardise(numbers)
        self.embeddings = nn.ModuleList(
            Embedding(EmbeddingConfig(count, width), f"static_categories[:, {number}]")
            for number, (count, width) in enumerate(zip(categories, widths, strict=True))
        )

    def forward(self, numbers: Tensor | None, categories: Tensor | None, past: Tensor) -> Tensor:
        """(B, ``output_size``).

        Args:
            numbers: (B, S), NaN where one is missing, which is read as its mean.
            categories: (B, K) integers.
            past: anything of B rows.

        Raises:
            ModelError: a number that stands for no category.
        """
        parts = [self.standardise.mean.new_zeros(past.shape[0], 0)]
        if numbers is not None:
            standardised = self.standardise(numbers)
            parts.append(torch.where(standardised.isnan(), 0.0, standardised))
        if categories is not None:
            for number, embedding in enumerate(self.embeddings):
                parts.append(embedding(categories[:, number : number + 1]).squeeze(1))
        return torch.cat(parts, dim=-1)
