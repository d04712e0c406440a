"""An image read from top to bottom, a row at a time, and named at the end."""

import torch
from torch import nn

from fastlstm.nn import LSTM


class ImageRowClassifier(nn.Module):
    """Classify grey images with an LSTM that takes each row as one time step.

    The pixels are standardised with `pixel_mean` and `pixel_std`. These are buffers, so that they
    are saved with the weights: a reloaded model takes the same raw pixels.

    Args:
        input_size: the number of pixels in a row.
        hidden_size: the number of LSTM units.
        num_classes: the number of classes.
    """

    pixel_mean: torch.Tensor
    pixel_std: torch.Tensor

    def __init__(self, input_size: int, hidden_size: int, num_classes: int) -> None:
        super().__init__()
        self.register_buffer("pixel_mean", torch.zeros(()))
        self.register_buffer("pixel_std", torch.ones(()))
        # A forget gate that begins open carries the first rows to the last (Jozefowicz 2015).
        self.lstm = LSTM(input_size, hidden_size, batch_first=True, forget_bias=1.0)
        self.head = nn.Linear(hidden_size, num_classes)

    def standardise_with(self, images: torch.Tensor) -> None:
        """Set the pixel statistics to those of the training images `(N, rows, columns)`."""
        std, mean = torch.std_mean(images.to(self.pixel_mean.dtype))
        self.pixel_mean.copy_(mean)
        # Images that are all one shade have no spread to divide by.
        self.pixel_std.copy_(torch.where(std > 0, std, torch.ones_like(std)))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Score each class.

        Args:
            images: `(B, rows, input_size)`, raw pixels of any dtype.

        Returns:
            Logits `(B, num_classes)` in the dtype of the weights.
        """
        pixels = (images.to(self.pixel_mean.dtype) - self.pixel_mean) / self.pixel_std
        _, (h_n, _) = self.lstm(pixels)
        return self.head(h_n[-1])
