"""Name whole sequences of vectors: sensors, recordings, images read line by line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.utils.validation import check_array
from torch import nn

from fastlstm.config import from_mapping
from fastlstm.data import DataError, Sequences
from fastlstm.models import LSTMConfig, SequenceNetwork, SequenceNetworkConfig, VectorConfig
from fastlstm.tasks.classification import Inputs, LabelledExamples
from fastlstm.tasks.classifier import Classifier
from fastlstm.tasks.targets import ClassWeight
from fastlstm.training import TrainingConfig


class SequenceClassifier(Classifier):
    """Classify sequences of vectors with an LSTM, for one target or several at once.

    An estimator as scikit-learn has them: `fit`, `predict`, `predict_proba`, `score`, `clone`,
    pipelines and grid searches. Examples are an array `(N, T, F)`, an array `(N, T)` of one value a
    step, or a list of arrays `(T_i, F)` or `(T_i,)` of unequal lengths. Features are standardised
    by the training examples.

    The defaults were chosen on validation parts of scanned and handwritten digits, read by rows and
    by pixels: of long sequences the greatest outputs are learned from far faster than the last.

    Args:
        lstm: the layers; None: `SequenceClassifier.default_lstm`.
        training: how it is trained; None: `SequenceClassifier.default_training`, whose epochs
            follow from the number of examples: of few as many as make 1,500 updates.
        pooling: how the steps become one answer: "last", "mean", "max", "concat" of these
            three, or "attention".
        projection: the width that features are mapped to before the LSTM; None: as they are.
        input_dropout: the rate of dropout before the LSTM.
        dropout: the rate of dropout after the pooling.
        class_weight: what each class counts in the loss: "balanced", a mapping, or None for all the
            same; with several targets, a mapping by target.
        target_weights: what each of several targets' losses counts; None: all the same.
        validation: the share of the examples held out of training to choose the best epoch by,
            where `fit` is given no others; 0: none, and the last epoch is kept. So it is where the
            share is fewer than 20 examples, which tell epochs apart by chance alone, unless the
            patience or the schedule of `training` needs them.

    Attributes:
        classes_: the labels in sorted order: an array, or one for each target.
        network_: the trained `fastlstm.models.SequenceNetwork`.
        history_: the `fastlstm.training.History`.
        n_features_in_: the number of columns, where the examples were an array `(N, T)`; others
            must have as many then.
    """

    default_lstm: ClassVar = LSTMConfig(hidden_size=128)
    default_training: ClassVar = TrainingConfig(epochs=None, learning_rate=4e-3)

    def __init__(
        self,
        lstm: LSTMConfig | None = None,
        training: TrainingConfig | None = None,
        *,
        pooling: str = "concat",
        projection: int | None = None,
        input_dropout: float = 0.0,
        dropout: float = 0.2,
        class_weight: ClassWeight = None,
        target_weights: Mapping[str, float] | None = None,
        validation: float = 0.1,
    ) -> None:
        self.lstm = lstm
        self.training = training
        self.pooling = pooling
        self.projection = projection
        self.input_dropout = input_dropout
        self.dropout = dropout
        self.class_weight = class_weight
        self.target_weights = target_weights
        self.validation = validation

    def _read_first(self, X: Any) -> Sequences:
        values = _checked(X, self)
        sequences = Sequences(values)
        self._feature_count = sequences.feature_count
        vars(self).pop("n_features_in_", None)
        if _has_columns(values):
            self.n_features_in_ = values.shape[1]
        return sequences

    def _read(self, X: Any) -> Sequences:
        values = _checked(X, self)
        columns = getattr(self, "n_features_in_", None)
        if columns is not None and _has_columns(values) and values.shape[1] != columns:
            # In scikit-learn's words, as it asks for them.
            raise DataError(
                f"X has {values.shape[1]} features, but {type(self).__name__} is expecting "
                f"{columns} features as input; sequences of other lengths come as a list"
            )
        sequences = Sequences(values)
        if sequences.feature_count != self._feature_count:
            raise DataError(
                f"sequences of {sequences.feature_count} features: expected "
                f"{self._feature_count}, as in fit"
            )
        return sequences

    def _encode(self, examples: Sequences) -> Inputs:
        return examples

    def _network_config(self) -> SequenceNetworkConfig:
        return SequenceNetworkConfig(
            vectors=VectorConfig(self._feature_count, self.projection),
            targets=self._targets.sizes,
            lstm=self._lstm_config(),
            pooling=self.pooling,  # type: ignore[arg-type]  # the network checks it
            input_dropout=self.input_dropout,
            dropout=self.dropout,
        )

    def _build(self, config: SequenceNetworkConfig) -> nn.Module:
        return SequenceNetwork(config)

    def _prepare_network(self, network: nn.Module, examples: LabelledExamples) -> None:
        assert isinstance(network, SequenceNetwork)
        sequences = examples.inputs
        assert isinstance(sequences, Sequences)
        mean, std = sequences.moments(examples.indices)
        network.encoder.standardise.set_statistics(torch.from_numpy(mean), torch.from_numpy(std))

    def _state(self) -> dict[str, Any]:
        columns = getattr(self, "n_features_in_", None)
        return super()._state() | {"feature_count": self._feature_count, "columns": columns}

    def _set_state(self, state: Mapping[str, Any]) -> None:
        super()._set_state(state)
        self._feature_count = int(state["feature_count"])
        if state["columns"] is not None:
            self.n_features_in_ = int(state["columns"])

    def _network_from(self, mapping: Mapping[str, Any], where: str) -> nn.Module:
        return SequenceNetwork(from_mapping(SequenceNetworkConfig, mapping, where))


def _checked(X: Any, estimator: SequenceClassifier) -> Any:
    """An array as scikit-learn checks it; lists and tensors as they are."""
    if isinstance(X, (list, tuple, torch.Tensor)):
        return X
    return check_array(
        X,
        dtype="float32",
        allow_nd=True,
        estimator=estimator,
    )


def _has_columns(values: Any) -> bool:
    """Whether the sequences are the rows of a table, one value a step."""
    return isinstance(values, np.ndarray) and values.ndim == 2
