"""The folder of one run.

    config.json             what describes the run, written once
    model.safetensors       the weights of the best epoch so far
    metrics.jsonl           a line for each epoch
    checkpoint.safetensors  everything that is needed to go on

Every file appears whole or not at all. Of several processes only the first writes.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from torch import Tensor, nn

from fastlstm.atomic import write_atomically
from fastlstm.training.errors import RunFolderError
from fastlstm.training.weights import from_file, load_into, to_bytes

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
METRICS = "metrics.jsonl"
CHECKPOINT = "checkpoint.safetensors"
STATE = "state"  # the metadata of the checkpoint that holds what is no tensor, as JSON


def is_first_process() -> bool:
    """Whether this is the only process, or the first of those that a launcher started."""
    return os.environ.get("RANK", "0") == "0"


def check_output(path: Path) -> None:
    """Raise unless a run folder can be made at `path`; leaves no trace on the disk.

    Raises:
        RunFolderError: `path` is a file or a folder with something in it, or cannot be written.
    """
    try:
        if path.is_dir():
            if any(path.iterdir()):
                raise RunFolderError(f"{path} is not empty: expected a new or an empty folder")
        elif path.exists():
            raise RunFolderError(f"{path} is a file: expected a new or an empty folder")
        existing = path.absolute()
        while not existing.exists():
            existing = existing.parent
    except OSError as error:
        raise RunFolderError(f"cannot write {path}: {error.strerror}") from error
    if not existing.is_dir():
        raise RunFolderError(f"cannot write {path}: {existing} is not a folder")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise RunFolderError(f"cannot write {path}: no permission to write in {existing}")


def read_object(path: Path) -> dict[str, Any]:
    """Read a file that holds a JSON object.

    Raises:
        RunFolderError: it is missing, cannot be read, or holds something else.
    """
    try:
        found = json.loads(path.read_bytes())
    except OSError as error:
        raise RunFolderError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise RunFolderError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(found, dict):
        raise RunFolderError(f"{path} holds no JSON object: expected {{...}}")
    return found


class RunFolder:
    """A run on the disk; make one with `create` or `open`.

    As a context manager, an error in its block before anything was trained removes what `create`
    made, and all that was written beside it since.
    """

    def __init__(
        self, path: Path, config: Mapping[str, Any], created: bool = False, made: bool = False
    ) -> None:
        self.path = path
        self.config = config
        self._created = created  # the run; and also the folder, where it is `made`
        self._made = made
        self._trained = (path / WEIGHTS).exists() or (path / CHECKPOINT).exists()

    @classmethod
    def create(cls, path: str | Path, config: Mapping[str, Any]) -> RunFolder:
        """Begin a run.

        Args:
            path: a new or an empty folder; its parents are made.
            config: what describes the run, as JSON values.

        Raises:
            RunFolderError: as for `check_output`, or the disk refuses a write.
        """
        path = Path(path)
        if not is_first_process():
            return cls(path, config)
        check_output(path)
        made = not path.exists()
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunFolderError(f"cannot write {path}: {error.strerror}") from error
        folder = cls(path, config, created=True, made=made)
        try:
            folder._write(CONFIG, (json.dumps(config, indent=2) + "\n").encode())
        except BaseException:
            folder._discard()
            raise
        return folder

    @classmethod
    def open(cls, path: str | Path) -> RunFolder:
        """Come back to a run, to resume it or to use it.

        Raises:
            RunFolderError: the folder or its `config.json` is missing or damaged.
        """
        path = Path(path)
        if not path.is_dir():
            raise RunFolderError(f"{path} is not a folder: expected the folder of a training run")
        config = read_object(path / CONFIG)
        return cls(path, config)

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error_type is not None and self._created and not self._trained:
            self._discard()

    def save_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Replace `model.safetensors`."""
        self._write(WEIGHTS, to_bytes(weights))
        self._trained = True

    def load_weights(self, network: nn.Module) -> None:
        """Read `model.safetensors` into a network.

        Raises:
            RunFolderError: it is missing, damaged, or does not fit.
        """
        load_into(network, self.read_weights(), self.path / WEIGHTS)

    def read_weights(self) -> dict[str, Tensor]:
        """The tensors of `model.safetensors` by name.

        Raises:
            RunFolderError: it is missing or damaged.
        """
        path = self.path / WEIGHTS
        if not path.exists():
            raise RunFolderError(
                f"{path} does not exist: expected the folder of a run that completed an epoch"
            )
        return from_file(path)[0]

    def save_metrics(self, lines: Sequence[Mapping[str, Any]]) -> None:
        """Replace `metrics.jsonl`."""
        self._write(METRICS, "".join(json.dumps(line) + "\n" for line in lines).encode())

    def read_metrics(self) -> list[dict[str, Any]]:
        """The lines of `metrics.jsonl`; none where no epoch has ended.

        Raises:
            RunFolderError: the file cannot be read, or is damaged.
        """
        path = self.path / METRICS
        try:
            text = path.read_text(encoding="utf-8") if path.exists() else ""
            return [json.loads(line) for line in text.splitlines()]
        except OSError as error:
            raise RunFolderError(f"cannot read {path}: {error.strerror}") from error
        except ValueError as error:
            raise RunFolderError(f"{path} is damaged: {error}") from error

    def save_checkpoint(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Replace `checkpoint.safetensors`: tensors, and JSON values in its metadata.

        They are in one file, as two could not be replaced at once.
        """
        self._write(CHECKPOINT, to_bytes(tensors, {STATE: json.dumps(state)}))
        self._trained = True

    def read_checkpoint(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """What `save_checkpoint` wrote last; None where a run was killed before it did.

        Raises:
            RunFolderError: the file cannot be read, or is damaged.
        """
        path = self.path / CHECKPOINT
        if not path.exists():
            return None
        tensors, metadata = from_file(path)
        try:
            return tensors, json.loads(metadata[STATE])
        except (KeyError, ValueError) as error:
            raise RunFolderError(f"{path} is damaged: it holds no valid state") from error

    def _write(self, name: str, content: bytes) -> None:
        try:
            write_atomically(self.path / name, content)
        except OSError as error:
            raise RunFolderError(f"cannot write {self.path / name}: {error.strerror}") from error

    def _discard(self) -> None:
        # What ended the run is the error to report, not what this clean-up meets on top of it.
        with suppress(OSError):
            for entry in self.path.iterdir():  # there was nothing in it before
                if entry.is_dir():  # a tracker's
                    shutil.rmtree(entry)
                else:
                    entry.unlink()
            if self._made:
                self.path.rmdir()
