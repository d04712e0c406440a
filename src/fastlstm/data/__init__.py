"""Data sets, read and checked. Nothing here knows a model or a training loop."""

from collections.abc import Callable, Mapping

from fastlstm.data.digits import load_digits
from fastlstm.data.errors import DataError
from fastlstm.data.images import ImageDataset
from fastlstm.data.mnist import load_mnist

IMAGE_DATASETS: Mapping[str, Callable[[], ImageDataset]] = {
    "digits": load_digits,
    "mnist": load_mnist,
}

__all__ = ["IMAGE_DATASETS", "DataError", "ImageDataset", "load_digits", "load_mnist"]
