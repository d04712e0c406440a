"""Features in units of their own spread."""

import torch
from torch import Tensor, nn

from fastlstm.models.errors import ModelError


class Standardise(nn.Module):
    """(x - mean) / std for each feature, with statistics that are saved with the weights.

    So a reloaded network takes the same raw features. Until they are set, features stay as they
    are.

    Args:
        size: ``F``, the number of features.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("std", torch.ones(size))

    def set_statistics(self, mean: Tensor, std: Tensor) -> None:
        """Standardise with these from now on.

        Args:
            mean: (F), the training data's.
            std: (F), the training data's; a feature without spread, 0, is only centred.

        Raises:
            ModelError: a wrong shape, a value that is not finite or a negative spread.
        """
        for name, value in (("mean", mean), ("std", std)):
            if value.shape != self.mean.shape:
                raise ModelError(
                    f"{name} must have the shape {list(self.mean.shape)}, one value for each "
                    f"feature, got {list(value.shape)}"
                )
            if not value.isfinite().all():
                raise ModelError(f"{name} must be finite, got {value.tolist()}")
        if (std < 0).any():
            raise ModelError(f"std must not be negative, got {std.tolist()}")
        self.mean.copy_(mean)
        self.std.copy_(torch.where(std > 0, std, 1.0))

    def forward(self, x: Tensor) -> Tensor:
        """(…, F) in the statistics' dtype, from (…, F) of any dtype."""
        return (x.to(self.mean.dtype) - self.mean) / self.std

    def extra_repr(self) -> str:
        """The number of features."""
        return str(self.mean.shape[0])
