"""Image files as arrays: a folder for each class, or any files to predict."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fastlstm.data import DataError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm")


def image_files(folder: Path) -> list[Path]:
    """The image files in a folder and below it, in the order of their names."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and path.is_file() and not path.name.startswith(".")
    )


def labelled_images(folder: Path) -> tuple[list[Path], list[str]]:
    """The files of a folder that has a folder for each class, and their classes.

    Raises:
        DataError: there are fewer than two such folders with images in them.
    """
    files: list[Path] = []
    labels: list[str] = []
    for of_class in sorted(path for path in folder.iterdir() if path.is_dir()):
        found = image_files(of_class)
        files += found
        labels += [of_class.name] * len(found)
    if len(set(labels)) < 2:
        raise DataError(
            f"{folder} holds images of {len(set(labels))} classes: expected a folder of images "
            f"for each class, two or more"
        )
    return files, labels


def read_images(
    files: Sequence[Path], size: tuple[int, int] | None, colour: bool
) -> list[np.ndarray]:
    """Read image files: uint8, each `(rows, columns)`, or `(rows, columns, 3)` in colour.

    Args:
        files: of any kind that Pillow reads.
        size: rows and columns that every image is scaled to; None: as they are.
        colour: whether colours are kept; else they become grey.

    Raises:
        DataError: a file is no image.
    """
    from PIL import Image

    images = []
    for file in files:
        try:
            with Image.open(file) as opened:
                # Sixteen bits a pixel would be cut off at 255 by the plain conversion.
                image = _eight_bits(opened) if opened.mode.startswith("I") else opened
                image = image.convert("RGB" if colour else "L")
                if size is not None and image.size != (size[1], size[0]):
                    image = image.resize(
                        (size[1], size[0]), Image.Resampling.BILINEAR, reducing_gap=3.0
                    )
                images.append(np.asarray(image, dtype=np.uint8))
        except (OSError, ValueError, SyntaxError) as error:
            raise DataError(f"cannot read {file} as an image: {error}") from error
    return images


def _eight_bits(image):  # type: ignore[no-untyped-def]
    from PIL import Image

    return Image.fromarray(
        (np.asarray(image, dtype=np.float64) / 257).clip(0, 255).astype(np.uint8)
    )
