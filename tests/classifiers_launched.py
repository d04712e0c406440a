"""Classifiers that several processes fit together, in a folder that is given."""

from pathlib import Path
from typing import Any

import numpy as np

from fastlstm.models import LSTMConfig
from fastlstm.tasks import SequenceClassifier, TextClassifier
from fastlstm.tasks.classifier import Classifier
from fastlstm.training import TrainingConfig
from two_processes import write_fitted

# 39 examples in batches of 10: shares of 5 and 5, at the end one of 5 and 4. Without dropout, as
# each process draws its own masks.
TRAINING = TrainingConfig(epochs=4, batch_size=10, learning_rate=5e-3, device="cpu", threads=1)
LSTM = LSTMConfig(hidden_size=6, bidirectional=True)
WORDS = ("a", "film", "of", "this", "year", "bright", "dull", ",")


def sequences(count: int, seed: int) -> tuple[list[np.ndarray], dict[str, list[Any]]]:
    """Ragged sequences for two targets, one of three classes."""
    generator = np.random.default_rng(seed)
    values = [generator.normal(size=(generator.integers(2, 9), 3)) for _ in range(count)]
    sign = ["up" if value[:, 0].sum() > 0 else "down" for value in values]
    return values, {"sign": sign, "length": [min(len(value) // 3, 2) for value in values]}


def texts(count: int, seed: int) -> tuple[list[str], list[str]]:
    generator = np.random.default_rng(seed)
    found = [" ".join(generator.choice(WORDS, size=generator.integers(1, 9))) for _ in range(count)]
    return found, ["good" if "bright" in text else "bad" for text in found]


CLASSIFIERS: dict[str, Any] = {
    "sequences": (
        lambda: SequenceClassifier(
            LSTM, TRAINING, dropout=0.0, class_weight="balanced", target_weights={"sign": 2.0}
        ),
        sequences,
    ),
    "texts": (
        lambda: TextClassifier(
            LSTM, TRAINING, embedding_size=5, word_dropout=0.0, input_dropout=0.0, dropout=0.0
        ),
        texts,
    ),
}


def fit(name: str, output: Path | None) -> Classifier:
    make, examples = CLASSIFIERS[name]
    return make().fit(*examples(43, 1), output=output)


def run_all(folder: Path, rank: int) -> None:
    """Fit each, and write what this process ends with."""
    for name, (_, examples) in CLASSIFIERS.items():
        classifier = fit(name, folder / name)
        classifier.save(folder / f"{name}-saved")
        write_fitted(classifier, classifier.evaluate(*examples(31, 2)), folder, name, rank)
