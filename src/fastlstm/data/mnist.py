"""MNIST: 60,000 + 10,000 handwritten digits of 28x28 pixels, from a local folder or downloaded.

The files are checked by what is *inside* them: mirrors compress anew, so the checksum of a `.gz`
differs from one to the next while the content does not.
"""

import gzip
import hashlib
import math
import os
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import TensorDataset

from fastlstm.data.errors import DataError
from fastlstm.data.files import DATA_FOLDER_VARIABLE, download
from fastlstm.data.images import ImageDataset

MIRROR = "https://ossci-datasets.s3.amazonaws.com/mnist/"
VALIDATION_IMAGES = 5_000
# Constant, and apart from the seed of a run: every run is measured on the same images.
SPLIT_SEED = 0


@dataclass(frozen=True)
class IdxFile:
    """One gzip-compressed idx file of unsigned bytes, and what it must hold once decompressed."""

    name: str
    shape: tuple[int, ...]
    sha256: str

    @property
    def header(self) -> bytes:
        """The first bytes: a magic number (type 8 = uint8, number of axes), then each length."""
        lengths = b"".join(length.to_bytes(4, "big") for length in self.shape)
        return bytes([0, 0, 8, len(self.shape)]) + lengths


TRAIN_IMAGES = IdxFile(
    "train-images-idx3-ubyte.gz",
    (60_000, 28, 28),
    "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
)
TRAIN_LABELS = IdxFile(
    "train-labels-idx1-ubyte.gz",
    (60_000,),
    "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
)
TEST_IMAGES = IdxFile(
    "t10k-images-idx3-ubyte.gz",
    (10_000, 28, 28),
    "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
)
TEST_LABELS = IdxFile(
    "t10k-labels-idx1-ubyte.gz",
    (10_000,),
    "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
)


def load_mnist() -> ImageDataset:
    """Read MNIST from `$FASTLSTM_DATA/mnist`, or, where that is not set, download it once.

    Returns:
        55,000 training, 5,000 validation (a fixed draw from the official 60,000) and the official
        10,000 test images `(28, 28)`, pixels from 0 to 255.

    Raises:
        DataError: a file is missing, damaged or not the official one, or the download failed.
    """
    images, labels = read_idx(TRAIN_IMAGES), read_idx(TRAIN_LABELS).long()
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(SPLIT_SEED))
    validation, train = order[:VALIDATION_IMAGES], order[VALIDATION_IMAGES:]
    return ImageDataset(
        train=TensorDataset(images[train], labels[train]),
        validation=TensorDataset(images[validation], labels[validation]),
        test=TensorDataset(read_idx(TEST_IMAGES), read_idx(TEST_LABELS).long()),
        num_classes=10,
    )


def read_idx(file: IdxFile) -> torch.Tensor:
    """Read one file from the local folder or the download cache, and check all of it.

    Returns:
        uint8 tensor of shape `file.shape`.

    Raises:
        DataError: as for `load_mnist`.
    """
    data_folder = os.environ.get(DATA_FOLDER_VARIABLE)
    if data_folder:
        return _decode(file, Path(data_folder) / "mnist" / file.name)
    path = download(MIRROR + file.name, "mnist", f"mnist/{file.name}")
    try:
        return _decode(file, path)
    except DataError as error:
        # A damaged download left in the cache would fail every later run too.
        path.unlink(missing_ok=True)
        raise DataError(
            f"{error}; removed it from the cache, run again to download it anew"
        ) from error


def _decode(file: IdxFile, path: Path) -> torch.Tensor:
    expected_size = len(file.header) + math.prod(file.shape)
    try:
        with gzip.open(path) as stream:
            # One byte more than expected shows a file that is too long without reading all of it.
            content = stream.read(expected_size + 1)
    except FileNotFoundError as error:
        raise DataError(
            f"{path} does not exist: {DATA_FOLDER_VARIABLE} must name a folder that holds "
            f"mnist/{file.name} (unset it to download MNIST)"
        ) from error
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path} is not a complete gzip file: {error}") from error
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error

    header = content[: len(file.header)]
    if header != file.header:
        raise DataError(
            f"{path} begins with {header.hex(' ', 4)}: expected {file.header.hex(' ', 4)}, the idx "
            f"header of a uint8 array of shape {file.shape}"
        )
    if len(content) != expected_size:
        found = f"{len(content):,}" if len(content) < expected_size else "more"
        raise DataError(f"{path} holds {found} bytes decompressed: expected {expected_size:,}")
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 != file.sha256:
        raise DataError(
            f"{path} is not the official file: the sha256 of its decompressed content is {sha256}, "
            f"expected {file.sha256}"
        )
    values = np.frombuffer(content, np.uint8, offset=len(file.header)).reshape(file.shape)
    return torch.from_numpy(values.copy())
