"""Networks: plain modules, with no training and no data code."""

from fastlstm.models.image_classifier import ImageRowClassifier

__all__ = ["ImageRowClassifier"]
