"""The benchmarks of the classifiers."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from benchmarks.quality.benchmark import Benchmark, Mark, mean, of, seeded
from fastlstm.data import (
    ImageDataset,
    LabelledTexts,
    images_by_pixels,
    images_by_rows,
    k_fold,
    load_mnist,
    load_movie_reviews,
)
from fastlstm.tasks import SequenceClassifier, TextClassifier

FOLDS = 10
_mnist: Callable[[], ImageDataset] = cache(load_mnist)
_reviews: Callable[[], LabelledTexts] = cache(load_movie_reviews)


def _sequences(part: str, seed: int) -> SequenceClassifier:
    return seeded(SequenceClassifier(), seed)


def _texts(part: str, seed: int) -> TextClassifier:
    return seeded(TextClassifier(), seed)


def _train_images(read: Callable[[Any], np.ndarray]) -> Callable[[Any, str], Any]:
    def train(estimator: SequenceClassifier, part: str) -> Callable[[], dict[str, float]]:
        mnist = _mnist()
        (x, y), (x_validation, y_validation), (x_test, y_test) = (
            (read(images.numpy()), labels.numpy())
            for images, labels in (
                data.tensors for data in (mnist.train, mnist.validation, mnist.test)
            )
        )
        estimator.fit(x, y, validation_data=(x_validation, y_validation))
        return lambda: estimator.evaluate(x_test, y_test)

    return train


def _train_reviews(estimator: TextClassifier, part: str) -> Callable[[], dict[str, float]]:
    texts, labels = (np.array(values, dtype=object) for values in _reviews())
    # The folds are the same for every seed, which is that of the training.
    kept, held_out = k_fold(len(texts), FOLDS, labels=labels.tolist())[_folds.index(part)]
    estimator.fit(texts[kept].tolist(), labels[kept].tolist())
    return lambda: estimator.evaluate(texts[held_out].tolist(), labels[held_out].tolist())


_folds = tuple(f"fold {number}" for number in range(1, FOLDS + 1))

CLASSIFICATION = {
    "mnist-rows": Benchmark(
        "MNIST by rows",
        ("",),
        (
            Mark(
                "accuracy",
                of("", "accuracy"),
                0.989,
                per_cent=True,
                published="about 98.5 (an example of Keras)",
                minutes=10,
            ),
        ),
        _sequences,
        _train_images(images_by_rows),
    ),
    "mnist-pixels": Benchmark(
        "MNIST by pixels, 784 steps",
        ("",),
        (
            Mark(
                "accuracy",
                of("", "accuracy"),
                0.97,
                per_cent=True,
                published="98.9 (LSTM, Cooijmans et al. 2017)",
                minutes=60,
            ),
        ),
        _sequences,
        _train_images(images_by_pixels),
    ),
    "movie-reviews": Benchmark(
        f"Movie reviews, {FOLDS}-fold, no pretrained vectors",
        _folds,
        (
            Mark(
                "accuracy, mean of the folds",
                mean("accuracy"),
                0.761,
                per_cent=True,
                published="76.1 (CNN-rand, Kim 2014)",
            ),
        ),
        _texts,
        _train_reviews,
    ),
}
