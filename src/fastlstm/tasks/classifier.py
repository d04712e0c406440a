"""What the classifiers of whole sequences have in common."""

from __future__ import annotations

import json
import typing
from abc import abstractmethod
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted
from torch import nn

from fastlstm.config import to_mapping
from fastlstm.data import split_stratified
from fastlstm.models import LSTMConfig
from fastlstm.tasks.classification import (
    ClassificationObjective,
    Inputs,
    LabelledExamples,
    figures,
)
from fastlstm.tasks.errors import TaskError
from fastlstm.tasks.saving import (
    FORMAT,
    dataclass_of,
    parameters_as_json,
    parameters_from_json,
)
from fastlstm.tasks.targets import ClassWeight, Targets
from fastlstm.training import Event, RunFolder, RunFolderError, TrainingConfig, fit

PREDICTION_BATCH = 256


class Classifier(ClassifierMixin, BaseEstimator):
    """Fit, measure, save: all but what an example is.

    A class below says how examples are read and which network reads them.
    """

    # The parameters that every classifier has; each constructor only stores them.
    lstm: LSTMConfig | None
    training: TrainingConfig | None
    class_weight: ClassWeight
    target_weights: Mapping[str, float] | None
    validation: float

    default_lstm: ClassVar[LSTMConfig]
    default_training: ClassVar[TrainingConfig]

    @abstractmethod
    def _read_first(self, X: Any) -> Any:
        """Read the examples of `fit`, and remember what later ones must be like."""

    @abstractmethod
    def _read(self, X: Any) -> Any:
        """Read examples as the fitted estimator takes them."""

    def _learn(self, examples: Any, indices: np.ndarray) -> None:
        """Learn from the training examples how to turn any into numbers; nothing, if they are."""

    @abstractmethod
    def _encode(self, examples: Any) -> Inputs:
        """What was read, in numbers."""

    @abstractmethod
    def _network_config(self) -> Any:
        """The configuration of a network for such examples."""

    @abstractmethod
    def _build(self, config: Any) -> nn.Module:
        """The network of a configuration."""

    @abstractmethod
    def _prepare_network(self, network: nn.Module, examples: LabelledExamples) -> None:
        """Give the network what it takes from the training examples before it is trained."""

    def _extra_state(self) -> dict[str, Any]:
        """What a fitted estimator knows beside its network and targets, for JSON."""
        return {}

    def _set_extra_state(self, state: Mapping[str, Any]) -> None:
        """Take back what `_extra_state` gave."""

    def fit(
        self,
        X: Any,
        y: Any,
        *,
        validation_data: tuple[Any, Any] | None = None,
        output: str | Path | None = None,
        resume: bool = False,
        on_event: Callable[[Event], None] | None = None,
    ) -> Any:
        """Train on examples and their labels.

        Args:
            X: the examples; see the class.
            y: a label for each, text or whole numbers; or a mapping from the name of a target to
                its labels, where there are several.
            validation_data: `(X, y)` to choose the best epoch by; None: the share `validation` of
                the examples, drawn so that every class has its part.
            output: a new or empty folder to keep the run in, from which `load` reads it back; None:
                nowhere.
            resume: go on with the interrupted run in `output`.
            on_event: called with what happens.

        Returns:
            The estimator.

        Raises:
            DataError: examples or labels that cannot be read.
            TaskError, ConfigError: a parameter that does not fit.
            TrainingError, RunFolderError, Interrupted: as `fastlstm.training.fit`.
        """
        if y is None:
            # The words by which scikit-learn knows an estimator that needs labels.
            raise TaskError(
                f"{type(self).__name__} requires y to be passed, but the target y is None"
            )
        examples = self._read_first(X)
        self._targets = Targets.of(y)
        ids = self._targets.ids(y, len(examples))
        kept, held_out = self._split(ids, len(examples), validation_data is not None)
        self._learn(examples, kept)
        inputs = self._encode(examples)
        train = LabelledExamples(inputs, ids, kept)
        validation = LabelledExamples(inputs, ids, held_out) if len(held_out) else None
        if validation_data is not None:
            validation = self._labelled(*validation_data)
        config = self.default_training if self.training is None else self.training
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.network_ = self._build(self._network_config())
        self._prepare_network(self.network_, train)
        self._most_frequent = {
            name: int(np.bincount(found).argmax()) for name, found in ids.items()
        }
        objective = ClassificationObjective(
            self.network_, self._targets.weights(self.class_weight, ids), self._target_weights()
        )
        self.classes_ = self._targets.classes()
        with ExitStack() as stack:
            folder = None
            if output is not None:
                folder = stack.enter_context(self._folder(Path(output), resume))
            self.history_ = fit(
                objective, train, validation, config, folder, resume=resume, on_event=on_event
            )
        return self

    def _labelled(self, X: Any, y: Any) -> LabelledExamples:
        examples = self._read(X)
        return LabelledExamples(self._encode(examples), self._targets.ids(y, len(examples)))

    def _split(
        self, ids: Mapping[str, np.ndarray], count: int, others_are_given: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """Which examples to train on, and which to choose the best epoch by."""
        if others_are_given or not self.validation:
            return np.arange(count), np.arange(0)
        if count == 1:
            raise TaskError(
                "1 sample: a share of it cannot be held out for validation; expected more, or "
                "validation=0"
            )
        together = list(zip(*(values.tolist() for values in ids.values()), strict=True))
        return split_stratified(together, self.validation)

    def _lstm_config(self) -> LSTMConfig:
        return self.default_lstm if self.lstm is None else self.lstm

    def _target_weights(self) -> dict[str, float]:
        given = dict(self.target_weights or {})
        unknown = set(given) - set(self._targets.indexes)
        if unknown:
            raise TaskError(
                f"target_weights names {', '.join(sorted(unknown))}: the targets are "
                f"{', '.join(self._targets.indexes)}"
            )
        return {name: given.get(name, 1.0) for name in self._targets.indexes}

    @property
    def most_frequent_(self) -> Any:
        """The class that was the most frequent in training, or that of each target."""
        check_is_fitted(self, "network_")
        indexes = self._targets.indexes
        return self._targets.of_user(
            {name: indexes[name].classes[place] for name, place in self._most_frequent.items()}
        )

    def predict_proba(self, X: Any) -> Any:
        """The probability of each class: (N, K) in the order of `classes_`, or one by target."""
        check_is_fitted(self, "network_")
        return self._targets.of_user(self._probabilities(self._encode(self._read(X))))

    def predict(self, X: Any) -> Any:
        """The most probable label of each example: an array (N), or one for each target."""
        check_is_fitted(self, "network_")
        probabilities = self._probabilities(self._encode(self._read(X)))
        return self._targets.labels({n: p.argmax(axis=1) for n, p in probabilities.items()})

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """The share of examples that are named rightly; of several targets the mean.

        Args:
            X: as in `fit`.
            y: as in `fit`.
            sample_weight: what each example counts; None: all the same.
        """
        check_is_fitted(self, "network_")
        examples = self._read(X)
        ids = self._targets.ids(y, len(examples))
        probabilities = self._probabilities(self._encode(examples))
        right = [
            np.average(probabilities[name].argmax(axis=1) == truth, weights=sample_weight)
            for name, truth in ids.items()
        ]
        return float(np.mean(right))

    def evaluate(self, X: Any, y: Any) -> Any:
        """Accuracy, balanced accuracy, macro F1 and log loss, beside the most frequent class.

        Returns:
            The figures by name, or those of each target.
        """
        check_is_fitted(self, "network_")
        examples = self._read(X)
        ids = self._targets.ids(y, len(examples))
        probabilities = self._probabilities(self._encode(examples))
        return self._targets.of_user(
            {
                name: figures(truth, probabilities[name], self._most_frequent[name])
                for name, truth in ids.items()
            }
        )

    def _probabilities(self, inputs: Inputs) -> dict[str, np.ndarray]:
        lengths = inputs.lengths
        order = sorted(range(len(inputs)), key=lambda index: lengths[index])
        parts: dict[str, list[np.ndarray]] = {name: [] for name in self._targets.indexes}
        self.network_.eval()
        with torch.inference_mode():
            for first in range(0, len(order), PREDICTION_BATCH):
                values, of_batch = inputs.batch(order[first : first + PREDICTION_BATCH])
                for name, logits in self.network_(values, of_batch).items():
                    parts[name].append(logits.double().softmax(dim=-1).numpy())
        place = np.argsort(order)
        return {name: np.concatenate(found)[place] for name, found in parts.items()}

    def save(self, path: str | Path) -> None:
        """Write the fitted estimator to a new or empty folder.

        Raises:
            RunFolderError: the folder is not empty, or the disk refuses.
            TaskError: a parameter that cannot be saved.
        """
        check_is_fitted(self, "network_")
        with RunFolder.create(path, self._description()) as folder:
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
            "targets": self._targets.to_mapping(),
            "most_frequent": self._most_frequent,
            "network": to_mapping(self.network_.config),
            "state": self._extra_state(),
        }

    @classmethod
    def _from_description(cls, description: Mapping[str, Any], where: str) -> Any:
        hints = typing.get_type_hints(cls.__init__)
        kinds = {name: dataclass_of(hint) for name, hint in hints.items()}
        estimator = cls(**parameters_from_json(description["parameters"], kinds, where))
        estimator._targets = Targets.from_mapping(description["targets"])
        estimator._most_frequent = dict(description["most_frequent"])
        estimator._set_extra_state(description["state"])
        estimator.network_ = estimator._network_from(description["network"], where)
        estimator.classes_ = estimator._targets.classes()
        return estimator

    @abstractmethod
    def _network_from(self, mapping: Mapping[str, Any], where: str) -> nn.Module:
        """The network whose configuration was written as this mapping."""

    def _save_files(self, folder: Path) -> None:
        """Write what is neither weights nor JSON values, such as a vocabulary."""

    def _load_files(self, folder: Path) -> None:
        """Read what `_save_files` wrote."""

    def _folder(self, path: Path, resume: bool) -> RunFolder:
        if not resume:
            folder = RunFolder.create(path, self._description())
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
