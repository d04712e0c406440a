"""`TextClassifier`: kinds of tokens, pretrained vectors, the disk."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from fastlstm.data import DataError, Labels, TextColumn
from fastlstm.models import LSTMConfig, TextNetwork
from fastlstm.tasks import TaskError, TextClassifier
from fastlstm.training import RunFolderError, TrainingConfig, TrainingError

SMALL: dict[str, Any] = {
    "lstm": LSTMConfig(hidden_size=8, bidirectional=True),
    "training": TrainingConfig(epochs=12, batch_size=16, learning_rate=2e-2),
    "embedding_size": 8,
    "word_dropout": 0.0,
    "input_dropout": 0.1,
    "dropout": 0.1,
}
GOOD, BAD = ("bright", "lively", "tender"), ("dull", "empty", "stale")


def reviews(count: int = 96, seed: int = 0) -> tuple[list[str], list[str]]:
    """Texts with one telling word among others."""
    generator = np.random.default_rng(seed)
    texts, labels = [], []
    for _ in range(count):
        good = generator.random() < 0.5
        words = list(generator.choice(["a", "film", "of", "this", "year", ","], size=5))
        words.insert(generator.integers(6), generator.choice(GOOD if good else BAD))
        texts.append(" ".join(words))
        labels.append("good" if good else "bad")
    return texts, labels


@pytest.fixture(scope="module")
def fitted() -> TextClassifier:
    return TextClassifier(**SMALL).fit(*reviews())


def test_it_learns(fitted: TextClassifier) -> None:
    texts, labels = reviews(seed=1)
    assert fitted.score(texts, labels) > 0.95
    assert fitted.classes_.tolist() == ["bad", "good"]
    assert fitted.predict(["This YEAR: lively!"]).tolist() == ["good"]
    assert fitted.predict_proba(["", "words nobody knows"]).shape == (2, 2)
    assert {"lively", "film"} <= set(fitted.encoder_.tokens("lively film"))


def test_a_column_with_labels_as_numbers_is_as_lists(fitted: TextClassifier) -> None:
    texts, labels = reviews()
    column = TextColumn(pa.chunked_array([texts[:30], texts[30:]]).chunks, "x.csv")
    again = TextClassifier(**SMALL).fit(column, Labels.of(labels))
    unseen, truth = reviews(seed=1)
    assert np.array_equal(again.predict_proba(unseen), fitted.predict_proba(unseen))
    assert again.score(unseen, Labels.of(truth)) == fitted.score(unseen, truth)


@pytest.mark.parametrize("units", ["characters", "subwords"])
def test_other_tokens(units: Any, tmp_path: Path) -> None:
    training = TrainingConfig(epochs=15, batch_size=16, learning_rate=2e-2)
    parameters = {**SMALL, "training": training}
    estimator = TextClassifier(**parameters, units=units, max_subwords=300)
    estimator.fit(*reviews(240))
    texts, labels = reviews(seed=1)
    assert estimator.score(texts, labels) > 0.8
    estimator.save(tmp_path / "model")
    loaded = TextClassifier.load(tmp_path / "model")
    assert np.array_equal(loaded.predict_proba(texts), estimator.predict_proba(texts))


def test_case_can_matter() -> None:
    texts = ["Bright film", "bright film"] * 24
    labels = ["name", "word"] * 24
    estimator = TextClassifier(**SMALL, lowercase=False, validation=0.0)
    assert estimator.fit(texts, labels).score(texts, labels) == 1.0
    blind = TextClassifier(**SMALL, validation=0.0).fit(texts, labels)
    assert blind.score(texts, labels) == 0.5


def test_rare_words_are_unknown() -> None:
    texts, labels = reviews(32)
    estimator = TextClassifier(**SMALL, min_count=2).fit([*texts, "unheard of"], [*labels, "bad"])
    unknown = estimator.encoder_.encode("unheard")
    assert unknown == [1] and estimator.encoder_.encode("film") != [1]
    assert TextClassifier(**SMALL, min_count=1).fit(
        [*texts, "unheard of"], [*labels, "bad"]
    ).encoder_.encode("unheard") != [1]


def test_words_held_out_for_validation_are_unknown() -> None:
    texts, labels = reviews()
    own = [f"word{number}" for number in range(len(texts))]
    texts = [f"{text} {word}" for text, word in zip(texts, own, strict=True)]
    short = {**SMALL, "training": TrainingConfig(epochs=1)}
    estimator = TextClassifier(**short, min_count=1, validation=0.25)
    encoder = estimator.fit(texts, labels).encoder_
    assert sum(encoder.encode(word) != [1] for word in own) == 72  # a quarter of 96 is held out


@pytest.mark.parametrize("frozen", [True, False])
def test_pretrained_vectors(frozen: bool, tmp_path: Path) -> None:
    path = tmp_path / "vectors.txt"
    lines = [f"{word} 1 0 {sign}" for words, sign in ((GOOD, 2), (BAD, -2)) for word in words]
    path.write_text("\n".join(lines) + "\n")
    estimator = TextClassifier(**SMALL, vectors=str(path), frozen=frozen).fit(*reviews())
    network = estimator.network_
    assert isinstance(network, TextNetwork)
    table = network.embedding.weight.detach()
    bright, film = (table[estimator.encoder_.encode(word)[0]] for word in ("bright", "film"))
    if frozen:
        assert bright.tolist() == [1.0, 0.0, 2.0] and not film.any()
        assert not network.embedding.weight.requires_grad
    else:
        assert 0 < float((bright - torch.tensor([1.0, 0.0, 2.0])).abs().max()) < 1
        assert film.any()
    texts, labels = reviews(seed=1)
    assert estimator.score(texts, labels) > 0.95


def test_the_disk(fitted: TextClassifier, tmp_path: Path) -> None:
    texts, labels = reviews(seed=2)
    fitted.save(tmp_path / "model")
    names = sorted(path.name for path in (tmp_path / "model").iterdir())
    assert names == ["config.json", "model.safetensors", "vocabulary.json"]
    loaded = TextClassifier.load(tmp_path / "model")
    assert np.array_equal(loaded.predict_proba(texts), fitted.predict_proba(texts))
    assert loaded.get_params() == fitted.get_params()

    run = TextClassifier(**SMALL).fit(*reviews(), output=tmp_path / "run")
    assert TextClassifier.load(tmp_path / "run").score(texts, labels) == run.score(texts, labels)
    (tmp_path / "run" / "vocabulary.json").unlink()
    with pytest.raises((RunFolderError, DataError), match=r"vocabulary\.json"):
        TextClassifier.load(tmp_path / "run")


def test_a_training_that_fails_at_once_leaves_nothing(tmp_path: Path) -> None:
    training = TrainingConfig(epochs=1, learning_rate=1e30, max_gradient_norm=None)
    estimator = TextClassifier(**{**SMALL, "training": training})
    with pytest.raises(TrainingError, match="became"):
        estimator.fit(*reviews(), output=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("parameters", "kind", "message"),
    [
        ({"units": "letters"}, DataError, "units is 'letters': expected 'words' or 'characters'"),
        ({"frozen": True}, TaskError, "frozen is True: expected pretrained vectors with it"),
        (
            {"vectors": "none.txt", "units": "characters"},
            TaskError,
            "vectors are those of words, and units is 'characters'",
        ),
        ({"vectors": "none.txt"}, DataError, "none.txt"),
        ({"min_count": 0}, DataError, "min_count is 0: expected at least 1"),
        ({"max_subwords": 10, "units": "subwords"}, DataError, "10 subwords: expected at least"),
    ],
)
def test_wrong_parameters(parameters: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        TextClassifier(**SMALL, **parameters).fit(*reviews(16))


def test_wrong_texts(fitted: TextClassifier) -> None:
    with pytest.raises(DataError, match="one text: expected a list of texts"):
        fitted.predict("lively")
    with pytest.raises(DataError, match="text 1 is a float: expected a string"):
        fitted.predict(["lively", float("nan")])
    with pytest.raises(DataError, match="no texts: expected at least one"):
        fitted.predict([])
