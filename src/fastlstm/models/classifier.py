"""One answer for a whole sequence: of vectors, or of words."""

import dataclasses

from torch import Tensor, nn

from fastlstm.models.embedding import Embedding, EmbeddingConfig
from fastlstm.models.encoders import VectorConfig, VectorEncoder
from fastlstm.models.errors import ModelError, check_rate, check_targets
from fastlstm.models.heads import Heads
from fastlstm.models.lstm_config import LSTMConfig
from fastlstm.models.padding import live_steps
from fastlstm.models.pooling import PoolingKind, make_pooling, pooled_size


@dataclasses.dataclass(frozen=True)
class SequenceNetworkConfig:
    """What a ``SequenceNetwork`` is made of.

    Args:
        vectors: what a step is.
        targets: each target's name and number of classes.
        lstm: the layers.
        pooling: how the steps become one vector: "last", "mean", "max", "concat" or "attention".
        input_dropout: the rate of dropout before the LSTM.
        dropout: the rate of dropout before the heads.

    Raises:
        ModelError: an argument is out of its range.
    """

    vectors: VectorConfig
    targets: dict[str, int]
    lstm: LSTMConfig = dataclasses.field(default_factory=LSTMConfig)
    pooling: PoolingKind = "last"
    input_dropout: float = 0.0
    dropout: float = 0.0

    def __post_init__(self) -> None:
        check_targets(self.targets)
        check_rate("input_dropout", self.input_dropout)
        check_rate("dropout", self.dropout)


@dataclasses.dataclass(frozen=True)
class TextNetworkConfig:
    """What a ``TextNetwork`` is made of.

    Args:
        embedding: the table of vectors of words, characters or pieces of words.
        targets: each target's name and number of classes.
        lstm: the layers.
        pooling: how the steps become one vector: "last", "mean", "max", "concat" or "attention".
        input_dropout: the rate of dropout before the LSTM.
        dropout: the rate of dropout before the heads.

    Raises:
        ModelError: an argument is out of its range.
    """

    embedding: EmbeddingConfig
    targets: dict[str, int]
    lstm: LSTMConfig = dataclasses.field(default_factory=LSTMConfig)
    pooling: PoolingKind = "last"
    input_dropout: float = 0.0
    dropout: float = 0.0

    def __post_init__(self) -> None:
        check_targets(self.targets)
        check_rate("input_dropout", self.input_dropout)
        check_rate("dropout", self.dropout)


class PooledLSTM(nn.Module):
    """Dropout, the LSTM, pooling, dropout, and a head for each target.

    Args:
        input_size: the width of a step.
        config: the layers, the pooling, the targets.
    """

    def __init__(self, input_size: int, config: SequenceNetworkConfig | TextNetworkConfig) -> None:
        super().__init__()
        width = config.lstm.output_size
        self.input_dropout = nn.Dropout(config.input_dropout)
        self.lstm = config.lstm.build(input_size)
        self.pooling = make_pooling(config.pooling, width, config.lstm.bidirectional)
        self.dropout = nn.Dropout(config.dropout)
        self.heads = Heads(pooled_size(config.pooling, width), config.targets)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> dict[str, Tensor]:
        """Logits (B, K) of each target from (B, T, I)."""
        output, _ = self.lstm(self.input_dropout(x), lengths=lengths)
        return self.heads(self.dropout(self.pooling(output, lengths)))


class SequenceNetwork(nn.Module):
    """Classify sequences of vectors, for one target or several at once.

    Features are standardised with statistics that are saved with the weights:
    ``network.encoder.standardise.set_statistics(mean, std)``.

    Args:
        config: what it is made of; ``SequenceNetwork(network.config)`` is the same network again.
    """

    def __init__(self, config: SequenceNetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = VectorEncoder(config.vectors)
        self.classifier = PooledLSTM(self.encoder.output_size, config)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> dict[str, Tensor]:
        """Score each class of each target.

        Args:
            x: (B, T, F) raw features of any dtype.
            lengths: (B) integers in 0..T, how many steps of each row are real; None: all. What
                stands past them, NaN included, reaches no result and no gradient.

        Returns:
            Logits (B, K) of each target, in the dtype of the weights.

        Raises:
            ModelError: ``x`` has another number of dimensions or features.
            ValueError, TypeError: the lengths do not fit.
        """
        return self.classifier(self.encoder(x, live_steps(x, lengths)), lengths)


class TextNetwork(nn.Module):
    """Classify sequences of words (or characters, or pieces), for one target or several at once.

    Pretrained vectors are taken over by ``network.embedding.set_table(table)``.

    Args:
        config: what it is made of; ``TextNetwork(network.config)`` is the same network again.
    """

    def __init__(self, config: TextNetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = Embedding(config.embedding)
        self.classifier = PooledLSTM(config.embedding.size, config)

    def forward(self, ids: Tensor, lengths: Tensor | None = None) -> dict[str, Tensor]:
        """Score each class of each target.

        Args:
            ids: (B, T) integers below the size of the vocabulary.
            lengths: (B) integers in 0..T, how many steps of each row are real; None: all. The ids
                past them reach nothing.

        Returns:
            Logits (B, K) of each target.

        Raises:
            ModelError: ``ids`` is not 2-D or holds a number that is not of the vocabulary.
            ValueError, TypeError: the lengths do not fit.
        """
        if ids.dim() != 2:
            raise ModelError(f"expected ids (B, T), got the shape {list(ids.shape)}")
        return self.classifier(self.embedding(ids, live_steps(ids, lengths)), lengths)
