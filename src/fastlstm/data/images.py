"""What every set of labelled images looks like once it is read."""

from dataclasses import dataclass

from torch.utils.data import TensorDataset


@dataclass(frozen=True)
class ImageDataset:
    """Grey images with a class each, in three parts that share no image.

    Each part holds two tensors: the images `(N, rows, columns)`, uint8, as the source stores them,
    and the labels `(N,)`, int64, from 0 to `num_classes - 1`. Settings are chosen on `validation`;
    `test` is for the final figure only.
    """

    train: TensorDataset
    validation: TensorDataset
    test: TensorDataset
    num_classes: int

    @property
    def rows(self) -> int:
        """The number of rows of an image: its time steps."""
        return self.train.tensors[0].shape[1]

    @property
    def columns(self) -> int:
        """The number of pixels in a row: the inputs of a time step."""
        return self.train.tensors[0].shape[2]
