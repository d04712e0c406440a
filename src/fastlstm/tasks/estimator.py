"""What all estimators have in common: their run folder, and how they are saved and loaded."""

from __future__ import annotations

import json
import typing
from abc import abstractmethod
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar

import torch
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted
from torch import nn

from fastlstm.config import to_mapping
from fastlstm.models import LSTMConfig
from fastlstm.tasks.errors import TaskError
from fastlstm.tasks.saving import (
    FORMAT,
    dataclass_of,
    parameters_as_json,
    parameters_from_json,
)
from fastlstm.training import (
    Event,
    Examples,
    History,
    Objective,
    RunFolder,
    RunFolderError,
    TrainingConfig,
    find_device,
    fit,
    is_first_process,
)
from fastlstm.training.settings import Device


class Estimator(BaseEstimator):
    """Train in a run folder, save and load: all but what an example and an answer are.

    A class below makes `network_`, the network with its `config`, and trains it with `_train`.
    """

    # The parameters that every estimator has; each constructor only stores them.
    lstm: LSTMConfig | None
    training: TrainingConfig | None

    default_lstm: ClassVar[LSTMConfig]
    default_training: ClassVar[TrainingConfig]

    network_: Any
    history_: History

    @abstractmethod
    def _network_config(self) -> Any:
        """The configuration of a network for the examples that were read."""

    @abstractmethod
    def _build(self, config: Any) -> nn.Module:
        """The network of a configuration."""

    @abstractmethod
    def _network_from(self, mapping: Mapping[str, Any], where: str) -> nn.Module:
        """The network whose configuration was written as this mapping."""

    def _state(self) -> dict[str, Any]:
        """What a fitted estimator knows beside its parameters and its network, for JSON."""
        return {}

    def _set_state(self, state: Mapping[str, Any]) -> None:
        """Take back what `_state` gave."""

    def _save_files(self, folder: Path) -> None:
        """Write what is neither weights nor JSON values, such as a vocabulary."""

    def _load_files(self, folder: Path) -> None:
        """Read what `_save_files` wrote."""

    def _lstm_config(self) -> LSTMConfig:
        return self.default_lstm if self.lstm is None else self.lstm

    def _training_config(self) -> TrainingConfig:
        return self.default_training if self.training is None else self.training

    def _training_on(self, train: Examples) -> TrainingConfig:
        """The training's settings for some examples."""
        return self._training_config()

    def _build_seeded(self) -> nn.Module:
        """A new network; the caller's random state is left as it was."""
        with torch.random.fork_rng(devices=[]):
            # Not `torch.manual_seed`: it seeds the GPUs too, which are not put back here.
            torch.default_generator.manual_seed(self._training_config().seed)
            return self._build(self._network_config())

    def _train(
        self,
        objective: Objective,
        train: Examples,
        validation: Examples | None,
        output: str | Path | None,
        resume: bool,
        on_event: Callable[[Event], None] | None,
    ) -> None:
        """Train `network_`, in a run folder if there is to be one; makes `history_`."""
        with ExitStack() as stack:
            folder = None
            if output is not None:
                folder = stack.enter_context(self._folder(Path(output), resume))
            self.history_ = fit(
                objective,
                train,
                validation,
                self._training_on(train),
                folder,
                resume=resume,
                on_event=on_event,
            )

    def to(self, device: Device) -> Any:
        """Compute predictions and scores on a device from now on, until the next `fit`.

        `fit` trains where `training.device` says, and leaves the network on the CPU, as does
        `load`. Moved, it stays where it is: its copy of the weights is made once.

        Args:
            device: "cpu", "cuda", "mps", or "auto": the GPU where there is one.

        Returns:
            The estimator.

        Raises:
            TrainingError: the device is not there.
        """
        check_is_fitted(self, "network_")
        self.network_.to(find_device(device))
        return self

    def save(self, path: str | Path) -> None:
        """Write the fitted estimator to a new or empty folder; of several processes the first.

        Raises:
            RunFolderError: the folder is not empty, or the disk refuses.
            TaskError: a parameter that cannot be saved.
        """
        check_is_fitted(self, "network_")
        with RunFolder.create(path, self._description()) as folder:
            if is_first_process():
                self._save_files(folder.path)
                folder.save_weights(self.network_.state_dict())

    @classmethod
    def load(cls, path: str | Path) -> Any:
        """Read what `save`, or `fit` with `output`, wrote.

        Raises:
            RunFolderError: the folder is not that of such an estimator, or is damaged.
        """
        folder = RunFolder.open(path)
        found = folder.config.get("estimator")
        if found != cls.__name__ or folder.config.get("format") != FORMAT:
            raise RunFolderError(
                f"{folder.path} holds {found!r} of format {folder.config.get('format')!r}: "
                f"expected {cls.__name__!r} of format {FORMAT}"
            )
        try:
            estimator = cls._from_description(folder.config, str(folder.path / "config.json"))
        except (KeyError, TypeError, ValueError) as error:
            raise RunFolderError(f"{folder.path / 'config.json'} is damaged: {error}") from error
        estimator._load_files(folder.path)
        folder.load_weights(estimator.network_)
        return estimator

    def _description(self) -> dict[str, Any]:
        return {
            "estimator": type(self).__name__,
            "format": FORMAT,
            "parameters": parameters_as_json(self.get_params(deep=False)),
            "network": to_mapping(self.network_.config),
            "state": self._state(),
        }

    @classmethod
    def _from_description(cls, description: Mapping[str, Any], where: str) -> Any:
        hints = typing.get_type_hints(cls.__init__)
        kinds = {name: dataclass_of(hint) for name, hint in hints.items()}
        estimator = cls(**parameters_from_json(description["parameters"], kinds, where))
        estimator._set_state(description["state"])
        estimator.network_ = estimator._network_from(description["network"], where)
        return estimator

    def _folder(self, path: Path, resume: bool) -> RunFolder:
        if not resume:
            folder = RunFolder.create(path, self._description())
            if is_first_process():
                self._save_files(folder.path)
            return folder
        folder = RunFolder.open(path)
        if _without_training(folder.config) != _without_training(self._description()):
            raise TaskError(
                f"{path} is the run of another estimator or of other data: resume goes on with the "
                "same parameters and the same examples only"
            )
        return folder


def _without_training(description: Mapping[str, Any]) -> dict[str, Any]:
    """A description as JSON has it, without the training's settings: `fit` compares those."""
    found = json.loads(json.dumps(description))
    found.get("parameters", {}).pop("training", None)
    return found
