"""Numbers that a network computes with beside its inputs, where these are."""

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from fastlstm.nn.inputs import has_readable_values


def constants(values: Sequence[float], like: Tensor) -> Tensor:
    """The numbers, `(N,)`, in the dtype and on the device of another tensor.

    They are copied to a GPU once, as the host waits for each such copy until the GPU has done all
    that it was given before.
    """
    if not like.is_cuda or torch.compiler.is_compiling() or not has_readable_values(like):
        return like.new_tensor(values)
    return _kept(tuple(values), like.dtype, like.device)


@lru_cache(maxsize=64)
def _kept(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    # What is made in inference mode could not take part in a training later.
    with torch.inference_mode(False):
        return torch.tensor(values, dtype=dtype, device=device)


def is_checked_here(values: Tensor) -> bool:
    """Whether inputs are to be looked at before they are computed with.

    There must be numbers to read; and on a GPU reading would wait for it, and what they index, or
    an assertion that is queued, stops it by itself.
    """
    return has_readable_values(values) and not values.is_cuda
