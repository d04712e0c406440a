"""From the outputs of all steps to one vector for each sequence."""

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from fastlstm.models.errors import check_choice
from fastlstm.models.padding import fill_padding, live_steps

PoolingKind = Literal["last", "mean", "max", "concat", "attention"]


def make_pooling(kind: PoolingKind, size: int, bidirectional: bool) -> nn.Module:
    """The pooling of that name, from (B, T, D) and lengths to (B, ``pooled_size(kind, D)``).

    Padding reaches no result and no gradient, and a sequence without steps is pooled to zeros.

    Args:
        kind: "last", "mean", "max", "concat" (these three side by side) or "attention".
        size: ``D``, the width of what is pooled.
        bidirectional: whether its second half was read from the last step to the first.

    Raises:
        ModelError: no pooling has that name.
    """
    check_choice("pooling", kind, get_args(PoolingKind))
    if kind == "last":
        return LastPooling(bidirectional)
    if kind == "attention":
        return AttentionPooling(size)
    if kind == "concat":
        return ConcatPooling(bidirectional)
    return MeanPooling() if kind == "mean" else MaxPooling()


def pooled_size(kind: PoolingKind, size: int) -> int:
    """The width of what `make_pooling` makes of steps of the width ``size``."""
    return 3 * size if kind == "concat" else size


class LastPooling(nn.Module):
    """Each direction's output at its own end: the last real step, and the first.

    Args:
        bidirectional: whether there are two directions, half of the width each.
    """

    def __init__(self, bidirectional: bool) -> None:
        super().__init__()
        self.bidirectional = bidirectional

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """(B, D) from (B, T, D) and lengths (B)."""
        live = live_steps(x, lengths)
        forward = x.chunk(2, dim=-1)[0] if self.bidirectional else x
        if live is None:
            last = forward[:, -1]
        else:
            x = fill_padding(x, live)
            index = (live.sum(1) - 1).clamp(min=0)
            index = index.reshape(-1, 1, 1).expand(-1, 1, forward.shape[-1])
            last = fill_padding(forward, live).gather(1, index).squeeze(1)
        if not self.bidirectional:
            return last
        return torch.cat((last, x[:, 0].chunk(2, dim=-1)[1]), dim=-1)


class MeanPooling(nn.Module):
    """The mean over the real steps."""

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """(B, D) from (B, T, D) and lengths (B)."""
        live = live_steps(x, lengths)
        if live is None:
            return x.mean(1)
        return fill_padding(x, live).sum(1) / live.sum(1, keepdim=True).clamp(min=1)


class MaxPooling(nn.Module):
    """The greatest value over the real steps, for each feature."""

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """(B, D) from (B, T, D) and lengths (B)."""
        live = live_steps(x, lengths)
        if live is None:
            return x.amax(1)
        greatest = fill_padding(x, live, -torch.inf).amax(1)
        return torch.where(live.any(1, keepdim=True), greatest, 0.0)


class ConcatPooling(nn.Module):
    """The last output, the mean and the greatest values side by side (Howard & Ruder 2018).

    What the end of a sequence tells is told by the first alone; the other two hear every step
    without the way through all that follow, and so learn from long sequences far faster.

    Args:
        bidirectional: whether there are two directions, half of the width each.
    """

    def __init__(self, bidirectional: bool) -> None:
        super().__init__()
        self.parts = nn.ModuleList([LastPooling(bidirectional), MeanPooling(), MaxPooling()])

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """(B, 3 D) from (B, T, D) and lengths (B)."""
        return torch.cat([part(x, lengths) for part in self.parts], dim=-1)


class AttentionPooling(nn.Module):
    """The mean over the real steps, weighted by how well each answers one learned query.

    Additive attention: the weights are softmax over t of q · tanh(W x_t + b) (Bahdanau et al.
    2015; with a learned query in place of a decoder's state: Yang et al. 2016).

    Args:
        size: ``D``, the width of what is pooled, and of the query.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(size, size)
        self.query = nn.Linear(size, 1, bias=False)

    def weights(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """How much each step counts: (B, T), zero in the padding, with the sum 1 over the rest."""
        live = live_steps(x, lengths)
        scores = self.query(torch.tanh(self.hidden(fill_padding(x, live)))).squeeze(-1)
        # Not minus infinity: a sequence without steps would have NaN for a softmax and gradient.
        scores = fill_padding(scores, live, torch.finfo(scores.dtype).min)
        return fill_padding(scores.softmax(dim=1), live)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """(B, D) from (B, T, D) and lengths (B)."""
        weights = self.weights(x, lengths).unsqueeze(-1)
        return (weights * fill_padding(x, live_steps(x, lengths))).sum(1)
