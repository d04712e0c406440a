"""Small pictures as PNG inside the page, so that it stays one file and needs no imaging library."""

from __future__ import annotations

import base64
import struct
import zlib

import numpy as np
from numpy.typing import NDArray

from fastlstm.report.errors import ReportError


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    """A picture as a PNG file (W3C Portable Network Graphics, third edition).

    Args:
        pixels: uint8, `(height, width)` for grey or `(height, width, 3)` for red, green, blue.

    Raises:
        ReportError: another shape or dtype, or no pixels.
    """
    grey = pixels.ndim == 2
    if pixels.dtype != np.uint8 or not (grey or (pixels.ndim == 3 and pixels.shape[2] == 3)):
        raise ReportError(
            "expected a picture of shape (height, width) or (height, width, 3) and dtype uint8, "
            f"got shape {pixels.shape} and dtype {pixels.dtype}"
        )
    if pixels.size == 0:
        raise ReportError(f"expected a picture with pixels, got shape {pixels.shape}")
    height, width = pixels.shape[:2]
    # Each row begins with the number of its filter; 0 leaves the row as it is.
    rows = np.zeros((height, 1 + pixels[0].size), dtype=np.uint8)
    rows[:, 1:] = pixels.reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, 0 if grey else 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", header)
        + _chunk(b"IDAT", zlib.compress(rows.tobytes(), 9))
        + _chunk(b"IEND", b"")
    )


def data_address(pixels: NDArray[np.uint8]) -> str:
    """The picture as the address of an `img` element; arguments and errors as `encode_png`."""
    return "data:image/png;base64," + base64.b64encode(encode_png(pixels)).decode("ascii")


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)
