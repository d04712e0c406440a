"""A linear-chain conditional random field over the steps of a sequence."""

import torch
from torch import Tensor, nn

from fastlstm.models.constants import is_checked_here
from fastlstm.models.errors import ModelError, check_count
from fastlstm.models.padding import fill_padding, live_steps

NO_LABEL = -1
"""What stands for a label past a sequence's end."""


class LinearChainCRF(nn.Module):
    """Labels that are scored together: each step's own score, and that of each pair of neighbours.

    A sequence of labels y of length n has the score::

        s(x, y) = start[y_1] + Σ_t scores[t, y_t] + Σ_t transitions[y_t, y_t+1] + end[y_n]

    and the probability exp(s(x, y)) / Σ_y' exp(s(x, y')) (Lafferty et al. 2001; over an LSTM:
    Lample et al. 2016). All sums are made of logarithms. The parameters begin at zero, where the
    steps are independent.

    ``B`` is the batch, ``T`` the number of steps, ``K`` that of labels. ``lengths`` is (B) integers
    in 0..T, None where every step is real. What stands past a length, NaN included, reaches no
    result and no gradient.

    Args:
        num_labels: ``K``.

    Raises:
        ModelError: ``num_labels`` is below 1; or in a call the scores or labels do not fit.
        ValueError, TypeError: in a call the lengths do not fit.
    """

    def __init__(self, num_labels: int) -> None:
        super().__init__()
        check_count("num_labels", num_labels)
        self.start = nn.Parameter(torch.zeros(num_labels))
        self.transitions = nn.Parameter(torch.zeros(num_labels, num_labels))  # from, to
        self.end = nn.Parameter(torch.zeros(num_labels))

    def log_likelihood(
        self, scores: Tensor, labels: Tensor, lengths: Tensor | None = None
    ) -> Tensor:
        """The logarithm of the probability of the labels.

        Args:
            scores: (B, T, K).
            labels: (B, T) integers in 0..K-1.
            lengths: (B).

        Returns:
            (B); 0 for a sequence without steps.
        """
        scores, live = self._prepare(scores, lengths)
        labels = self._check_labels(labels, scores, live)
        return self._score(scores, labels, live) - self._log_partition(scores, live)

    def marginals(self, scores: Tensor, lengths: Tensor | None = None) -> Tensor:
        """The probability of each label at each step, given all scores.

        Args:
            scores: (B, T, K).
            lengths: (B).

        Returns:
            (B, T, K); zeros past a sequence's end.
        """
        scores, live = self._prepare(scores, lengths)
        log_before = torch.stack(self._forward(scores, live), dim=1)
        log_after = torch.stack(self._backward(scores, live), dim=1)
        return fill_padding((log_before + log_after).softmax(-1), live)

    @torch.no_grad()
    def decode(self, scores: Tensor, lengths: Tensor | None = None) -> Tensor:
        """The most probable labels (Viterbi 1967).

        Args:
            scores: (B, T, K).
            lengths: (B).

        Returns:
            (B, T) int64; ``NO_LABEL`` past a sequence's end. Of two equally probable labels it is
            either.
        """
        scores, live = self._prepare(scores, lengths)
        steps = scores.shape[1]
        best = self.start + scores[:, 0]
        stay = torch.arange(best.shape[1], device=best.device).expand(best.shape)
        came_from: list[Tensor] = []
        for step in range(1, steps):
            score, previous = (best.unsqueeze(-1) + self.transitions).max(1)
            best = _where_live(live, step, score + scores[:, step], best)
            came_from.append(_where_live(live, step, previous, stay))
        label = (best + self.end).argmax(-1, keepdim=True)
        labels = [label]
        for previous in reversed(came_from):
            label = previous.gather(1, label)
            labels.append(label)
        return fill_padding(torch.cat(labels[::-1], dim=1), live, NO_LABEL)

    def _prepare(self, scores: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The scores, zero in the padding, and where they are live."""
        count = len(self.start)
        if scores.dim() != 3 or scores.shape[1] == 0 or scores.shape[2] != count:
            raise ModelError(
                f"scores must have the shape (B, T, {count}) with at least one step, "
                f"got {list(scores.shape)}"
            )
        live = live_steps(scores, lengths)
        return fill_padding(scores, live), live

    def _check_labels(self, labels: Tensor, scores: Tensor, live: Tensor | None) -> Tensor:
        """The labels, 0 in the padding."""
        if labels.shape != scores.shape[:2]:
            raise ModelError(
                f"labels must have the shape {list(scores.shape[:2])}, as the scores' first two "
                f"dimensions, got {list(labels.shape)}"
            )
        labels = fill_padding(labels, live)
        count = scores.shape[2]
        if is_checked_here(labels) and bool(((labels < 0) | (labels >= count)).any()):
            wrong = labels[(labels < 0) | (labels >= count)][0]
            raise ModelError(f"labels must be from 0 to {count - 1}, got {int(wrong)}")
        return labels

    def _score(self, scores: Tensor, labels: Tensor, live: Tensor | None) -> Tensor:
        """s(x, y): (B)."""
        own = scores.gather(2, labels.unsqueeze(-1)).squeeze(-1)
        pairs = self.transitions[labels[:, :-1], labels[:, 1:]]
        if live is None:
            last = labels[:, -1]
            return self.start[labels[:, 0]] + own.sum(1) + pairs.sum(1) + self.end[last]
        final = (live.sum(1, keepdim=True) - 1).clamp(min=0)
        last = labels.gather(1, final).squeeze(1)
        ends = self.start[labels[:, 0]] + self.end[last]
        pairs = fill_padding(pairs, live[:, 1:])
        return own.sum(1) + pairs.sum(1) + fill_padding(ends.unsqueeze(1), live[:, :1]).squeeze(1)

    def _log_partition(self, scores: Tensor, live: Tensor | None) -> Tensor:
        """Log Σ_y exp(s(x, y)): (B)."""
        total = (self._forward(scores, live)[-1] + self.end).logsumexp(-1)
        return total if live is None else torch.where(live[:, 0], total, 0.0)

    def _forward(self, scores: Tensor, live: Tensor | None) -> list[Tensor]:
        """At each step and label, (B, K), the logarithm of the sum over all labels before it.

        Past a sequence's end it stays what it was there.
        """
        value = self.start + scores[:, 0]
        values = [value]
        for step in range(1, scores.shape[1]):
            moved = (value.unsqueeze(-1) + self.transitions).logsumexp(1) + scores[:, step]
            value = _where_live(live, step, moved, value)
            values.append(value)
        return values

    def _backward(self, scores: Tensor, live: Tensor | None) -> list[Tensor]:
        """At each step and label, (B, K), the logarithm of the sum over all labels after it."""
        value = self.end.expand(scores.shape[0], -1)
        values = [value]
        for step in range(scores.shape[1] - 1, 0, -1):
            after = (value + scores[:, step]).unsqueeze(1)
            value = _where_live(live, step, (after + self.transitions).logsumexp(-1), value)
            values.append(value)
        return values[::-1]


def _where_live(live: Tensor | None, step: int, value: Tensor, otherwise: Tensor) -> Tensor:
    """``value`` (B, K) in the rows that are live at a step."""
    return value if live is None else torch.where(live[:, step, None], value, otherwise)
