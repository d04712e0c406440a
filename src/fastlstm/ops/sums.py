"""Sums over all steps, of which the parameters' gradients are made: the reference of each.

A back end may bring its own. Rows are those of all steps together, and come in groups that are
summed apart from each other.
"""

from typing import NamedTuple, Protocol

import torch
from torch import Tensor


class Product(Protocol):
    """A batched product of matrices."""

    def __call__(
        self,
        a: Tensor,
        b: Tensor,
        add_to: Tensor | None = None,
        row_sums: Tensor | None = None,
    ) -> Tensor:
        """(g, M, K) and (g, K, N) to (g, M, N), or added to what is there.

        The sums (g, M) over the rows of ``a`` are written to ``row_sums``.
        """
        ...


class ColumnDots(Protocol):
    """The products of two matrices' columns, each with its own counterpart."""

    def __call__(self, a: Tensor, b: Tensor, add_to: Tensor | None = None) -> Tensor:
        """Twice (g, n, M) to the sums (g, M) over ``n`` of ``a ⊙ b``, or added to what is there."""
        ...


class NormTotals(NamedTuple):
    """The gradients of a layer norm."""

    d_gain: Tensor  # (g, M)
    d_bias: Tensor  # (g, M)
    d_x: Tensor | None  # (g, n, M): where the gain is given


class LayerNormTotals(Protocol):
    """The gradients of a layer norm."""

    def __call__(self, d: Tensor, x: Tensor, gain: Tensor | None, epsilon: float) -> NormTotals:
        """From ``x`` and the gradient ``d`` of its norm, both (g, n, M).

        Where the gain is given, ``x`` may be lost: its memory may be that of ``d_x``.
        """
        ...


def product(
    a: Tensor, b: Tensor, add_to: Tensor | None = None, row_sums: Tensor | None = None
) -> Tensor:
    """See ``Product``."""
    if row_sums is not None:
        row_sums.copy_(a.sum(dim=-1))
    return torch.bmm(a, b) if add_to is None else add_to.baddbmm_(a, b)


def column_dots(a: Tensor, b: Tensor, add_to: Tensor | None = None) -> Tensor:
    """See ``ColumnDots``."""
    dots = (a * b).sum(dim=1)
    return dots if add_to is None else add_to.add_(dots)


def norm_totals(d: Tensor, x: Tensor, gain: Tensor | None, epsilon: float) -> NormTotals:
    """See ``LayerNormTotals``."""
    normalized, _ = normalize(x, epsilon)
    d_x = None if gain is None else layer_norm_backward(d, x, gain, epsilon)
    return NormTotals((d * normalized).sum(dim=1), d.sum(dim=1), d_x)


def times(x: Tensor, matrix: Tensor, product: Product) -> Tensor:
    """(N, K) times (K, M)."""
    return product(x.unsqueeze(0), matrix.unsqueeze(0)).squeeze(0)


def layer_norm_backward(d: Tensor, x: Tensor, gain: Tensor, epsilon: float) -> Tensor:
    """The gradient of ``x`` where ``d`` is that of LN(x)."""
    normalized, inverse_deviation = normalize(x, epsilon)
    d = d * gain
    along = (d * normalized).mean(dim=-1, keepdim=True)
    return inverse_deviation * (d - d.mean(dim=-1, keepdim=True) - normalized * along)


def normalize(x: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """``x`` with mean 0 and variance 1 in its last dimension, and one over its deviation."""
    centred = x - x.mean(dim=-1, keepdim=True)
    inverse_deviation = (centred.square().mean(dim=-1, keepdim=True) + epsilon).rsqrt()
    return centred * inverse_deviation, inverse_deviation
