"""The state of the global random generators: torch's, NumPy's and Python's."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy
import torch
from torch import Tensor

_MERSENNE_WORDS = 624
# NumPy: its words, where it stands in them, whether a normal number is in hand, and that number.
_NUMPY = numpy.dtype([("key", "<u4", _MERSENNE_WORDS), ("rest", "<i8", 2), ("gauss", "<f8")])
# Python: its words and where it stands; whether a normal number is in hand, and that number.
_PYTHON = numpy.dtype([("key", "<u4", _MERSENNE_WORDS + 1), ("rest", "<i8"), ("gauss", "<f8")])


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed all generators, and put them back at the end as they were before."""
    before = get_state(device)
    random.seed(seed)
    numpy.random.seed(seed)
    # Not `torch.manual_seed`: it seeds every GPU there is, and only this device's is put back.
    torch.default_generator.manual_seed(seed)
    if device.type != "cpu":
        _device_module(device).manual_seed(seed)
    try:
        yield
    finally:
        set_state(before, device)


def get_state(device: torch.device) -> Tensor:
    """The state of all generators, `(bytes,)` uint8; of the same size whatever they did before."""
    numpy_state = numpy.random.get_state(legacy=False)
    words = numpy_state["state"]
    numpy_rest = (words["pos"], numpy_state["has_gauss"])
    _, python_key, gauss = random.getstate()
    records = (
        numpy.array([(words["key"], numpy_rest, numpy_state["gauss"])], _NUMPY),
        numpy.array([(python_key, gauss is not None, gauss or 0.0)], _PYTHON),
    )
    pieces = [
        torch.frombuffer(bytearray(record.tobytes()), dtype=torch.uint8) for record in records
    ]
    return torch.cat([*pieces, torch.get_rng_state(), *_device_state(device)])


def set_state(state: Tensor, device: torch.device) -> None:
    """Put all generators where they were when `get_state` was called."""
    on_device = sum(len(piece) for piece in _device_state(device))
    sizes = [_NUMPY.itemsize, _PYTHON.itemsize]
    torch_size = len(state) - sum(sizes) - on_device
    pieces = state.split([*sizes, torch_size, on_device])
    numpy_record = numpy.frombuffer(pieces[0].numpy().tobytes(), _NUMPY)[0]
    words = {"key": numpy_record["key"].copy(), "pos": int(numpy_record["rest"][0])}
    numpy.random.set_state(
        {
            "bit_generator": "MT19937",
            "state": words,
            "has_gauss": int(numpy_record["rest"][1]),
            "gauss": float(numpy_record["gauss"]),
        }
    )
    python_record = numpy.frombuffer(pieces[1].numpy().tobytes(), _PYTHON)[0]
    gauss = float(python_record["gauss"]) if python_record["rest"] else None
    random.setstate((3, tuple(int(word) for word in python_record["key"]), gauss))
    torch.set_rng_state(pieces[2].clone())
    if on_device:
        _device_module(device).set_rng_state(pieces[3].clone())


def _device_state(device: torch.device) -> list[Tensor]:
    return [] if device.type == "cpu" else [_device_module(device).get_rng_state()]


def _device_module(device: torch.device):
    return getattr(torch, device.type)
