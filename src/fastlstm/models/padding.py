"""Which steps of a padded batch are real; what stands in the others is never computed with."""

import torch
from torch import Tensor

from fastlstm.nn.inputs import check_lengths


def live_steps(x: Tensor, lengths: Tensor | None) -> Tensor | None:
    """Where a batch is real.

    Args:
        x: (B, T, …).
        lengths: (B) integers in 0..T; None: every step is real.

    Returns:
        (B, T) bool on the device of ``x``; None where every step is real.

    Raises:
        ValueError, TypeError: the lengths do not fit, in the words of ``fastlstm.LSTM``.
    """
    checked = check_lengths(lengths, x.transpose(0, 1), batched=True)
    if checked is None:
        return None
    return torch.arange(x.shape[1], device=x.device) < checked.unsqueeze(1)


def fill_padding(x: Tensor, live: Tensor | None, value: float = 0) -> Tensor:
    """``x`` (B, T, …) with ``value`` where it is not live, whatever stood there, NaN included."""
    if live is None:
        return x
    return torch.where(live.reshape(live.shape + (1,) * (x.dim() - 2)), x, value)
