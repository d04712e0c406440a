"""The folder of one run: its configuration, its weights and its metrics.

Every file appears whole or not at all: it is written beside its place and then moved there. A run
that fails before its first epoch was saved takes its folder away again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import safetensors
import safetensors.torch
import torch

from fastlstm.atomic import write_atomically
from fastlstm.training.errors import RunFolderError
from fastlstm.training.folder import CONFIG, METRICS, WEIGHTS, check_output


class RunFolder:
    """A run being written. An error in its `with` block before any epoch was saved removes it.

    Args:
        path: a new or an empty folder; its parents are made.
        config: what describes the run, as JSON values.

    Raises:
        RunFolderError: as for `check_output`, or the disk refuses a write.
    """

    def __init__(self, path: Path, config: Mapping[str, Any]) -> None:
        check_output(path)
        self.path = path
        self._metrics: list[str] = []
        self._made_folder = not path.exists()
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunFolderError(f"cannot write {path}: {error.strerror}") from error
        try:
            self._write(CONFIG, (json.dumps(config, indent=2) + "\n").encode())
        except BaseException:
            self._discard()
            raise

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error_type is not None and not self._metrics:
            self._discard()

    def save_weights(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Replace `model.safetensors`."""
        self._write(WEIGHTS, safetensors.torch.save(dict(weights)))

    def add_metrics(self, metrics: Mapping[str, int | float]) -> None:
        """Add one line to `metrics.jsonl`."""
        lines = [*self._metrics, json.dumps(metrics) + "\n"]
        self._write(METRICS, "".join(lines).encode())
        self._metrics = lines

    def _write(self, name: str, content: bytes) -> None:
        try:
            write_atomically(self.path / name, content)
        except OSError as error:
            raise RunFolderError(f"cannot write {self.path / name}: {error.strerror}") from error

    def _discard(self) -> None:
        # What ended the run is the error to report, not what this clean-up meets on top of it.
        with suppress(OSError):
            for name in (CONFIG, WEIGHTS, METRICS):
                (self.path / name).unlink(missing_ok=True)
            if self._made_folder:
                self.path.rmdir()


def read_config(path: Path) -> dict[str, Any]:
    """Read the configuration of the run in the folder `path`.

    Raises:
        RunFolderError: the folder or its `config.json` is missing or damaged.
    """
    content = _read(path, CONFIG)
    try:
        config = json.loads(content)
    except ValueError as error:
        raise RunFolderError(f"{path / CONFIG} is not valid JSON: {error}") from error
    if not isinstance(config, dict):
        raise RunFolderError(f"{path / CONFIG} holds no JSON object: expected {{...}}")
    return config


def load_weights(path: Path, model: torch.nn.Module) -> None:
    """Read the weights of the run in the folder `path` into `model`.

    Raises:
        RunFolderError: the folder or its `model.safetensors` is missing or damaged, or holds other
            names or shapes than `model` has.
    """
    content = _read(path, WEIGHTS)
    try:
        weights = safetensors.torch.load(content)
    except safetensors.SafetensorError as error:
        raise RunFolderError(f"{path / WEIGHTS} is damaged: {error}") from error
    found = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    for name in sorted(found.keys() | expected.keys()):
        if found.get(name) != expected.get(name):
            raise RunFolderError(
                f"{path / WEIGHTS} does not fit {path / CONFIG}: {name} is "
                f"{found.get(name, 'missing')}, expected {expected.get(name, 'no such tensor')}"
            )
    model.load_state_dict(weights)


def _read(path: Path, name: str) -> bytes:
    if not path.is_dir():
        raise RunFolderError(f"{path} is not a folder: expected the folder of a training run")
    try:
        return (path / name).read_bytes()
    except FileNotFoundError as error:
        raise RunFolderError(
            f"{path / name} does not exist: expected the folder of a run that completed an epoch"
        ) from error
    except OSError as error:
        raise RunFolderError(f"cannot read {path / name}: {error.strerror}") from error
