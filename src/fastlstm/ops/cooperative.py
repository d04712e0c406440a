"""Cooperative launches, of which all programs are on the device at once: a driver may refuse one.

It does where other processes have a part of the GPU's processors (CUDA's Multi-Process Service), or
where a driver knows none. Nothing has run then. The back end refuses all calls on that device from
there on, and says why, and another one serves this call.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_MESSAGES = ("too many blocks in cooperative launch", "operation not supported")
"""What CUDA says of its errors 720 and 801."""

_refused: dict[torch.device, str] = {}


class LaunchRefusedError(RuntimeError):
    """The driver refused a cooperative launch, and so it will the next."""


def refusal(device: torch.device) -> str | None:
    """Why no cooperative launch is tried on this device, or None."""
    said = _refused.get(device)
    return None if said is None else f"the driver of {device} refused a cooperative launch: {said}"


@contextmanager
def launching(device: torch.device) -> Iterator[None]:
    """A block that launches cooperatively.

    Raises:
        LaunchRefusedError: the driver refused; nothing has run. The first time there is a warning.
    """
    try:
        yield
    except RuntimeError as error:
        said = next((message for message in _MESSAGES if message in str(error)), None)
        if said is None:
            raise
        if device not in _refused:
            _refused[device] = said
            warnings.warn(f"{refusal(device)}; slower kernels serve", RuntimeWarning, stacklevel=3)
        raise LaunchRefusedError(refusal(device)) from error
