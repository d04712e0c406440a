"""Networks: plain modules, with no training and no data code."""

from fastlstm.models.crf import NO_LABEL, LinearChainCRF
from fastlstm.models.errors import ModelError
from fastlstm.models.image_classifier import ImageRowClassifier
from fastlstm.models.lstm_config import LSTMConfig
from fastlstm.models.pooling import (
    AttentionPooling,
    LastPooling,
    MaxPooling,
    MeanPooling,
    make_pooling,
)
from fastlstm.models.standardise import Standardise

__all__ = [
    "NO_LABEL",
    "AttentionPooling",
    "ImageRowClassifier",
    "LSTMConfig",
    "LastPooling",
    "LinearChainCRF",
    "MaxPooling",
    "MeanPooling",
    "ModelError",
    "Standardise",
    "make_pooling",
]
