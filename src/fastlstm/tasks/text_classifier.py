"""Name texts: reviews, messages, sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from torch import nn

from fastlstm.config import from_mapping
from fastlstm.data import (
    DataError,
    NumberedTexts,
    SubwordEncoder,
    TextColumn,
    TextEncoder,
    VocabularyEncoder,
    learn_words,
    load_text_encoder,
)
from fastlstm.models import EmbeddingConfig, LSTMConfig, TextNetwork, TextNetworkConfig
from fastlstm.tasks.classification import Inputs, LabelledExamples
from fastlstm.tasks.classifier import Classifier
from fastlstm.tasks.pretrained import first_table, read_pretrained
from fastlstm.tasks.targets import ClassWeight
from fastlstm.training import TrainingConfig

VOCABULARY = "vocabulary.json"


class TextClassifier(Classifier):
    """Classify texts with a bidirectional LSTM, for one target or several at once.

    An estimator as scikit-learn has them: `fit`, `predict`, `predict_proba`, `score`, `clone`,
    grid searches. Examples are strings.

    Args:
        lstm: the layers; None: `TextClassifier.default_lstm`.
        training: how it is trained; None: `TextClassifier.default_training`, whose epochs follow
            from the number of texts: of few as many as make 1,500 updates.
        units: what a token is: "words", "characters", or "subwords" of a byte-pair encoding that is
            learned from the training texts (Sennrich et al. 2016).
        min_count: a word or character that is rarer in the training texts is an unknown one.
        max_subwords: how many subwords there are at most.
        lowercase: whether case is dropped.
        embedding_size: the width of a token's vector; with `vectors`, theirs.
        vectors: a file of pretrained vectors of words in the usual text format; None: none.
        frozen: whether pretrained vectors stay as they are; words without one then have zeros.
        word_dropout: the rate at which tokens are dropped in training, wherever they stand.
        pooling: how the tokens become one answer: "last", "mean", "max", "concat" of these
            three, or "attention".
        input_dropout: the rate of dropout before the LSTM.
        dropout: the rate of dropout after the pooling.
        class_weight: what each class counts in the loss: "balanced", a mapping, or None for all the
            same; with several targets, a mapping by target.
        target_weights: what each of several targets' losses counts; None: all the same.
        validation: the share of the texts held out of training to choose the best epoch by,
            where `fit` is given no others; 0: none, and the last epoch is kept. So it is where the
            share is fewer than 20 texts, which tell epochs apart by chance alone, unless the
            patience or the schedule of `training` needs them.

    Attributes:
        classes_: the labels in sorted order: an array, or one for each target.
        encoder_: what turns a text into numbers.
        network_: the trained `fastlstm.models.TextNetwork`.
        history_: the `fastlstm.training.History`.
    """

    default_lstm: ClassVar = LSTMConfig(hidden_size=64, bidirectional=True)
    default_training: ClassVar = TrainingConfig(epochs=None)

    def __init__(
        self,
        lstm: LSTMConfig | None = None,
        training: TrainingConfig | None = None,
        *,
        units: Literal["words", "characters", "subwords"] = "words",
        min_count: int = 2,
        max_subwords: int = 8_000,
        lowercase: bool = True,
        embedding_size: int = 128,
        vectors: str | None = None,
        frozen: bool = False,
        word_dropout: float = 0.3,
        pooling: str = "max",
        input_dropout: float = 0.5,
        dropout: float = 0.5,
        class_weight: ClassWeight = None,
        target_weights: Mapping[str, float] | None = None,
        validation: float = 0.1,
    ) -> None:
        self.lstm = lstm
        self.training = training
        self.units = units
        self.min_count = min_count
        self.max_subwords = max_subwords
        self.lowercase = lowercase
        self.embedding_size = embedding_size
        self.vectors = vectors
        self.frozen = frozen
        self.word_dropout = word_dropout
        self.pooling = pooling
        self.input_dropout = input_dropout
        self.dropout = dropout
        self.class_weight = class_weight
        self.target_weights = target_weights
        self.validation = validation

    def _read_first(self, X: Any) -> Sequence[str]:
        return _texts(X)

    def _read(self, X: Any) -> Sequence[str]:
        return _texts(X)

    def _learn(self, examples: Sequence[str], indices: np.ndarray) -> Inputs:
        units: Any = self.units  # the encoder refuses what it does not know
        if units == "subwords":
            if isinstance(examples, TextColumn):
                texts: Any = examples.select(indices)
            else:
                texts = [examples[index] for index in indices.tolist()]
            self.encoder_: TextEncoder = SubwordEncoder.train(
                texts, self.max_subwords, self.lowercase
            )
            inputs = self._encode(examples)
        else:
            self.encoder_, inputs = learn_words(
                examples, indices, units, self.min_count, self.lowercase
            )
        words = None
        if isinstance(self.encoder_, VocabularyEncoder) and units == "words":
            words = self.encoder_.vocabulary
        instead = f"units is {self.units!r}"
        self._pretrained = read_pretrained(self.vectors, self.frozen, words, instead)
        return inputs

    def _encode(self, examples: Sequence[str]) -> Inputs:
        return NumberedTexts.of(examples, self.encoder_)

    def _network_config(self) -> TextNetworkConfig:
        size = self.embedding_size
        if self._pretrained is not None:
            size = self._pretrained.table.shape[1]
        return TextNetworkConfig(
            embedding=EmbeddingConfig(self.encoder_.size, size, self.word_dropout, self.frozen),
            targets=self._targets.sizes,
            lstm=self._lstm_config(),
            pooling=self.pooling,  # type: ignore[arg-type]  # the network checks it
            input_dropout=self.input_dropout,
            dropout=self.dropout,
        )

    def _build(self, config: TextNetworkConfig) -> nn.Module:
        return TextNetwork(config)

    def _prepare_network(self, network: nn.Module, examples: LabelledExamples) -> None:
        assert isinstance(network, TextNetwork)
        if self._pretrained is not None:
            network.embedding.set_table(first_table(self._pretrained, self.frozen))

    def _save_files(self, folder: Path) -> None:
        self.encoder_.save(folder / VOCABULARY)

    def _load_files(self, folder: Path) -> None:
        self.encoder_ = load_text_encoder(folder / VOCABULARY)

    def _network_from(self, mapping: Mapping[str, Any], where: str) -> nn.Module:
        return TextNetwork(from_mapping(TextNetworkConfig, mapping, where))


def _texts(X: Any) -> Sequence[str]:
    if isinstance(X, TextColumn):
        return X
    texts = list(X) if not isinstance(X, str) else None
    if texts is None:
        raise DataError("one text: expected a list of texts")
    if not texts:
        raise DataError("no texts: expected at least one")
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise DataError(f"text {index} is a {type(text).__name__}: expected a string")
    return [str(text) for text in texts]
