"""Networks: plain modules, with no training and no data code."""

from fastlstm.models.classifier import (
    SequenceNetwork,
    SequenceNetworkConfig,
    TextNetwork,
    TextNetworkConfig,
)
from fastlstm.models.crf import NO_LABEL, LinearChainCRF
from fastlstm.models.distributions import (
    NegativeBinomialOutput,
    NormalOutput,
    StudentTOutput,
)
from fastlstm.models.embedding import Embedding, EmbeddingConfig
from fastlstm.models.encoders import (
    CharacterConfig,
    CharacterEncoder,
    ImageConfig,
    ImageEncoder,
    VectorConfig,
    VectorEncoder,
    WordConfig,
    WordEncoder,
)
from fastlstm.models.errors import ModelError
from fastlstm.models.forecaster import (
    ForecastNetwork,
    ForecastNetworkConfig,
    OutputConfig,
)
from fastlstm.models.lstm_config import LSTMConfig
from fastlstm.models.outputs import Forecast, LossSum, Output, PointOutput, QuantileOutput
from fastlstm.models.pooling import (
    AttentionPooling,
    ConcatPooling,
    LastPooling,
    MaxPooling,
    MeanPooling,
    make_pooling,
    pooled_size,
)
from fastlstm.models.standardise import Standardise
from fastlstm.models.tagger import Tagger, TaggerConfig

__all__ = [
    "NO_LABEL",
    "AttentionPooling",
    "CharacterConfig",
    "CharacterEncoder",
    "ConcatPooling",
    "Embedding",
    "EmbeddingConfig",
    "Forecast",
    "ForecastNetwork",
    "ForecastNetworkConfig",
    "ImageConfig",
    "ImageEncoder",
    "LSTMConfig",
    "LastPooling",
    "LinearChainCRF",
    "LossSum",
    "MaxPooling",
    "MeanPooling",
    "ModelError",
    "NegativeBinomialOutput",
    "NormalOutput",
    "Output",
    "OutputConfig",
    "PointOutput",
    "QuantileOutput",
    "SequenceNetwork",
    "SequenceNetworkConfig",
    "Standardise",
    "StudentTOutput",
    "Tagger",
    "TaggerConfig",
    "TextNetwork",
    "TextNetworkConfig",
    "VectorConfig",
    "VectorEncoder",
    "WordConfig",
    "WordEncoder",
    "make_pooling",
    "pooled_size",
]
