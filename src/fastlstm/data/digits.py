"""The 1,797 scanned 8x8 digits that come inside scikit-learn: no download needed."""

import numpy as np
import torch
from torch.utils.data import TensorDataset

from fastlstm.data.images import ImageDataset

TEST_SHARE = 0.2
VALIDATION_SHARE = 0.1
# Constant, and apart from the seed of a run: every run is measured on the same images.
SPLIT_SEED = 0


def load_digits() -> ImageDataset:
    """Read the digits and split them, each part with its share of every class.

    Returns:
        1,293 training, 144 validation and 360 test images `(8, 8)`, pixels from 0 to 16.
    """
    from sklearn.datasets import load_digits as load_scanned_digits
    from sklearn.model_selection import train_test_split

    pixels, classes = load_scanned_digits(return_X_y=True)
    images = np.asarray(pixels, dtype=np.uint8).reshape(-1, 8, 8)
    labels = np.asarray(classes, dtype=np.int64)

    def split(indices: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
        kept, held_out = train_test_split(
            indices, test_size=share, random_state=SPLIT_SEED, stratify=labels[indices]
        )
        return np.asarray(kept), np.asarray(held_out)

    def part(indices: np.ndarray) -> TensorDataset:
        return TensorDataset(torch.from_numpy(images[indices]), torch.from_numpy(labels[indices]))

    remaining, test = split(np.arange(len(labels)), TEST_SHARE)
    train, validation = split(remaining, VALIDATION_SHARE)
    return ImageDataset(part(train), part(validation), part(test), num_classes=10)
