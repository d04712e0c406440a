"""What the classifiers of whole sequences have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.base import ClassifierMixin
from sklearn.utils.validation import check_is_fitted
from torch import nn

from fastlstm.data import combined_ids, split_stratified
from fastlstm.tasks.classification import (
    ClassificationObjective,
    Inputs,
    LabelledExamples,
    figures,
    lengths_of_padded,
)
from fastlstm.tasks.errors import TaskError
from fastlstm.tasks.estimator import Estimator
from fastlstm.tasks.placing import beside
from fastlstm.tasks.targets import ClassWeight, Targets
from fastlstm.training import Event, Examples, TrainingConfig, finest
from fastlstm.training.batches import count_batches
from fastlstm.training.settings import choose_epochs

PREDICTION_BATCH = 256
FEWEST_UPDATES = 1_500
"""Of examples so few that the epochs of others would make fewer: hardly a beginning."""
FEWEST_HELD_OUT = 20
"""Fewer examples tell epochs apart by chance alone, and are worth more in training."""


class Classifier(ClassifierMixin, Estimator):
    """Fit and measure: all but what an example is.

    A class below says how examples are read and which network reads them.
    """

    # The parameters that every classifier has; each constructor only stores them.
    class_weight: ClassWeight
    target_weights: Mapping[str, float] | None
    validation: float

    @abstractmethod
    def _read_first(self, X: Any) -> Any:
        """Read the examples of `fit`, and remember what later ones must be like."""

    @abstractmethod
    def _read(self, X: Any) -> Any:
        """Read examples as the fitted estimator takes them."""

    def _learn(self, examples: Any, indices: np.ndarray) -> Inputs:
        """Learn from the training examples how to turn any into numbers; give all in numbers."""
        return self._encode(examples)

    @abstractmethod
    def _encode(self, examples: Any) -> Inputs:
        """What was read, in numbers."""

    @abstractmethod
    def _prepare_network(self, network: nn.Module, examples: LabelledExamples) -> None:
        """Give the network what it takes from the training examples before it is trained."""

    def _state(self) -> dict[str, Any]:
        return {"targets": self._targets.to_mapping(), "most_frequent": self._most_frequent}

    def _set_state(self, state: Mapping[str, Any]) -> None:
        self._targets = Targets.from_mapping(state["targets"])
        self._most_frequent = dict(state["most_frequent"])
        self.classes_ = self._targets.classes()

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
                the examples, drawn so that every class has its part, if these are at least 20.
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
        inputs = self._learn(examples, kept)
        train = LabelledExamples(inputs, ids, kept)
        validation = LabelledExamples(inputs, ids, held_out) if len(held_out) else None
        if validation_data is not None:
            validation = self._labelled(*validation_data)
        self.network_ = self._build_seeded()
        self._prepare_network(self.network_, train)
        self._most_frequent = {
            name: int(np.bincount(found).argmax()) for name, found in ids.items()
        }
        objective = ClassificationObjective(
            self.network_,
            self._targets.weights(self.class_weight, ids),
            self._targets.loss_weights(self.target_weights),
        )
        self.classes_ = self._targets.classes()
        self._train(objective, train, validation, output, resume, on_event)
        return self

    def _training_on(self, train: Examples) -> TrainingConfig:
        config = self._training_config()
        batches = count_batches(len(train), config.batch_size)
        return replace(
            config,
            epochs=choose_epochs(config, batches, FEWEST_UPDATES),
            # Of 36 examples not 32 and 4: four would move the weights as far as the others.
            batch_size=-(-len(train) // batches),
        )

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
        kept, held_out = split_stratified(combined_ids(list(ids.values())), self.validation)
        training = self._training_config()
        needs_some = training.patience is not None or training.schedule == "plateau"
        if len(held_out) < FEWEST_HELD_OUT and not needs_some:
            return np.arange(count), np.arange(0)
        return kept, held_out

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
        order = np.argsort(inputs.lengths, kind="stable")
        parts: dict[str, list[torch.Tensor]] = {name: [] for name in self._targets.indexes}
        self.network_.eval()
        with torch.inference_mode():
            for first in range(0, len(order), PREDICTION_BATCH):
                values, of_batch = inputs.batch(order[first : first + PREDICTION_BATCH].tolist())
                of_batch = lengths_of_padded(values, of_batch)
                given = beside(self.network_, (values, of_batch))
                for name, logits in self.network_(*given).items():
                    parts[name].append(logits.to(finest(logits.device)).softmax(dim=-1))
        place = np.argsort(order)
        # Read at the end, as the host would wait for a GPU at each batch.
        return {name: torch.cat(found).cpu().numpy()[place] for name, found in parts.items()}
