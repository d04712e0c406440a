"""What each benchmark of quality trains on and what it measures: never the same examples."""

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from benchmarks.quality import classification, forecasting, tagging
from benchmarks.quality.__main__ import BENCHMARKS
from torch.utils.data import TensorDataset

from fastlstm.data import (
    ETT_COLUMNS,
    ImageDataset,
    LabelledRecordings,
    LabelledTexts,
    TaggedSentences,
    Treebank,
)
from fastlstm.models import LSTMConfig
from fastlstm.tasks import Forecaster, SequenceClassifier, SequenceTagger, TextClassifier
from fastlstm.training import TrainingConfig


@pytest.mark.parametrize("name", list(BENCHMARKS))
def test_the_defaults_are_used_but_for_the_seed(name: str) -> None:
    benchmark = BENCHMARKS[name]
    for part in benchmark.parts:
        estimator = benchmark.estimator(part, 3)
        assert estimator.training == replace(type(estimator).default_training, seed=3)
        changed = {
            name
            for name, value in type(estimator)().get_params(deep=False).items()
            if estimator.get_params(deep=False)[name] != value
        }
        # What the data are, not how they are learned.
        assert changed <= {"training", "horizon", "columns", "validation"}


@pytest.mark.parametrize("name", ["mnist-rows", "mnist-pixels"])
def test_images(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    generator = torch.Generator().manual_seed(0)

    def images(count: int) -> TensorDataset:
        pixels = torch.randint(256, (count, 3, 2), generator=generator, dtype=torch.uint8)
        return TensorDataset(pixels, torch.arange(count) % 2)

    parts = ImageDataset(images(12), images(6), images(5), num_classes=2)
    monkeypatch.setattr(classification, "_mnist", lambda: parts)
    seen: dict[str, Any] = {}

    class Watched(SequenceClassifier):
        default_training = TrainingConfig(epochs=1, threads=1)
        default_lstm = LSTMConfig(hidden_size=4)

        def fit(self, X: Any, y: Any, **options: Any) -> Any:
            seen.update(X=X, validation=options["validation_data"][0])
            return super().fit(X, y, **options)

    benchmark = BENCHMARKS[name]
    test = benchmark.train(Watched(), "")
    shape = (3, 2) if name == "mnist-rows" else (6, 1)
    assert seen["X"].shape == (12, *shape)
    assert seen["validation"].shape == (6, *shape)
    assert seen["X"].max() <= 1.0
    assert test()["accuracy"] in {share / 5 for share in range(6)}


def test_reviews_are_in_one_fold_each(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"text {number}" for number in range(40)]
    reviews = LabelledTexts(texts, ["pos", "neg"] * 20)
    monkeypatch.setattr(classification, "_reviews", lambda: reviews)

    class Never:
        def fit(self, texts: list[str], labels: list[str]) -> None:
            self.kept = list(texts)
            assert sorted(np.unique(labels)) == ["neg", "pos"]

        def evaluate(self, texts: list[str], labels: list[str]) -> dict[str, float]:
            assert sorted([*self.kept, *texts]) == sorted(reviews.texts)
            assert labels.count("neg") == labels.count("pos") == 2
            tested.extend(texts)
            return {"accuracy": 1.0}

    tested: list[str] = []
    benchmark = BENCHMARKS["movie-reviews"]
    assert len(benchmark.parts) == 10
    for part in benchmark.parts:
        benchmark.train(Never(), part)()
    assert sorted(tested) == sorted(texts)
    assert isinstance(benchmark.estimator("fold 1", 1), TextClassifier)


class Watched:
    """Remembers what it is given, and answers with a figure of its own."""

    training = TrainingConfig(seed=0)

    def fit(self, X: Any, y: Any = None, **options: Any) -> None:
        self.X, self.y, self.options = X, y, options

    def evaluate(self, X: Any, y: Any = None, **options: Any) -> Any:
        self.test, self.truth, self.measured = X, y, options
        if y is None:
            return {"mse": 0.5}
        return {target: {"accuracy": 0.5, "baseline_accuracy": 0.25, "other": 0.0} for target in y}


@pytest.mark.parametrize("part", ["together", "feats"])
def test_words(monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    def sentences(name: str) -> TaggedSentences:
        return TaggedSentences([[name]], {"upos": [[f"{name} tag"]], "feats": [["some"]]})

    treebank = Treebank(sentences("train"), sentences("validation"), sentences("test"))
    monkeypatch.setattr(tagging, "_treebank", lambda: treebank)
    watched = Watched()
    scores = BENCHMARKS["ud-ewt-joint"].train(watched, part)()  # type: ignore[arg-type]
    targets = {"upos", "feats"} if part == "together" else {part}
    assert (watched.X, watched.test) == ([["train"]], [["test"]])
    assert watched.options["validation_data"][0] == [["validation"]]
    assert watched.y.keys() == watched.truth.keys() == targets
    assert watched.options["validation_data"][1].keys() == targets
    expected = {"accuracy": 0.5, "baseline_accuracy": 0.25}
    assert scores == {f"{t} {name}": value for t in targets for name, value in expected.items()}
    assert isinstance(BENCHMARKS["ud-ewt-joint"].estimator(part, 0), SequenceTagger)


def test_frames_of_a_recording_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    names = list(tagging.RECORDINGS)
    # A feature that tells the label, so that a forest of the other recordings knows all of it.
    labels = [["Rest", "Hold"] * 4 for _ in names]
    frames = [
        np.array([[float(label == "Hold"), index] for label in of_one], np.float32)
        for index, of_one in enumerate(labels)
    ]
    recordings = LabelledRecordings(names, frames, labels, ["x", "name"])
    monkeypatch.setattr(tagging, "_recordings", lambda: recordings)
    monkeypatch.setattr(tagging, "TREES", 5)

    class Guess(Watched):
        def predict(self, X: Any) -> list[list[str]]:
            assert len(X) == 1 and X[0] is frames[2]
            return [["Rest"] * 8]

    guess = Guess()
    scores = BENCHMARKS["gesture-phase"].train(guess, names[2])()  # type: ignore[arg-type]
    assert all(array is not frames[2] for array in guess.X) and len(guess.X) == len(names) - 1
    assert guess.y == labels[1:]
    assert scores == {"macro_f1": pytest.approx(1 / 3), "forest macro_f1": 1.0}
    assert set(BENCHMARKS["gesture-phase"].parts) == set(names)


@pytest.mark.parametrize(("name", "targets"), [("ett-ot", ("OT",)), ("ett-all", ETT_COLUMNS)])
def test_months_of_ett(monkeypatch: pytest.MonkeyPatch, name: str, targets: Any) -> None:
    hours = 17_420
    monkeypatch.setattr(forecasting, "_ett", lambda: pa.table({"hour": np.arange(hours)}))
    watched, benchmark = Watched(), BENCHMARKS[name]
    assert benchmark.train(watched, "168")() == {"mse": 0.5}  # type: ignore[arg-type]
    assert len(watched.X) == 11_520 and len(watched.test) == 14_400
    assert watched.measured == {"steps": 2_880, "standardised": True}
    estimator = benchmark.estimator("168", 0)
    assert isinstance(estimator, Forecaster)
    assert (estimator.horizon, estimator.validation) == (168, 2_880)
    assert estimator.columns is not None and estimator.columns.targets == targets


def test_months_of_the_airline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecasting, "_airline", lambda: pa.table({"month": np.arange(144)}))
    watched = Watched()
    BENCHMARKS["airline"].train(watched, "")()  # type: ignore[arg-type]
    assert (len(watched.X), len(watched.test), watched.measured) == (120, 144, {})
    assert BENCHMARKS["airline"].estimator("", 0).horizon == 24
