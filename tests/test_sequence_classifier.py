"""`SequenceClassifier`: scikit-learn's conventions, several targets, ragged inputs, the disk."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import parametrize_with_checks

from fastlstm.data import DataError, Sequences, images_by_rows, load_digits
from fastlstm.models import LSTMConfig
from fastlstm.tasks import SequenceClassifier, TaskError
from fastlstm.tasks.classification import LabelledExamples
from fastlstm.tasks.classifier import FEWEST_UPDATES
from fastlstm.training import EpochDone, RunFolderError, TrainingConfig

SMALL = LSTMConfig(hidden_size=8)
SHORT = TrainingConfig(epochs=12, batch_size=16, learning_rate=2e-2)


def sums(count: int = 96, features: int = 2, seed: int = 0) -> tuple[list[np.ndarray], list[str]]:
    """Ragged sequences, named by the sign of the sum of their first feature."""
    generator = np.random.default_rng(seed)
    sequences = [
        generator.normal(size=(generator.integers(3, 9), features)) + generator.choice((-1, 1))
        for _ in range(count)
    ]
    return sequences, ["up" if values[:, 0].sum() > 0 else "down" for values in sequences]


@pytest.fixture(scope="module")
def fitted() -> SequenceClassifier:
    return SequenceClassifier(SMALL, SHORT).fit(*sums())


def test_it_learns(fitted: SequenceClassifier) -> None:
    X, y = sums(seed=1)
    assert fitted.score(X, y) > 0.9
    assert fitted.classes_.tolist() == ["down", "up"]
    predicted, probabilities = fitted.predict(X), fitted.predict_proba(X)
    assert probabilities.shape == (96, 2)
    assert np.allclose(probabilities.sum(axis=1), 1)
    assert (predicted == fitted.classes_[probabilities.argmax(axis=1)]).all()
    assert fitted.score(X, y) == np.mean(predicted == np.array(y))


def test_a_prediction_depends_on_no_other_example(fitted: SequenceClassifier) -> None:
    X, _ = sums(seed=2)
    together = fitted.predict_proba(X)
    alone = np.concatenate([fitted.predict_proba([one]) for one in X[:5]])
    assert np.allclose(together[:5], alone, rtol=1e-5)  # the heads are products of torch


def test_a_batch_without_padding_needs_no_lengths() -> None:
    X, _ = sums()
    of_four = [index for index, values in enumerate(X) if len(values) == 4]
    longer = next(index for index, values in enumerate(X) if len(values) == 5)
    examples = LabelledExamples(Sequences(X), {"y": np.arange(len(X))})
    batch = examples.batch(of_four)
    assert batch.lengths is None and batch.inputs.shape == (len(of_four), 4, 2)
    assert batch.ids["y"].tolist() == of_four
    lengths = examples.batch([longer, *of_four]).lengths
    assert lengths is not None and lengths.tolist() == [5] + [4] * len(of_four)


def test_figures(fitted: SequenceClassifier) -> None:
    X, y = sums(seed=1)
    found = fitted.evaluate(X, y)
    probabilities = fitted.predict_proba(X)
    truth = np.array([["down", "up"].index(label) for label in y])
    right = probabilities.argmax(axis=1) == truth
    recalls = [right[truth == one].mean() for one in (0, 1)]
    assert found["accuracy"] == right.mean()
    assert found["balanced_accuracy"] == pytest.approx(np.mean(recalls))
    assert found["log_loss"] == pytest.approx(-np.log(probabilities[range(96), truth]).mean())
    _, training = sums()
    most = max(("down", "up"), key=training.count)
    assert found["baseline_accuracy"] == np.mean(np.array(y) == most)


def test_the_same_seed_is_the_same_estimator(fitted: SequenceClassifier) -> None:
    torch.manual_seed(99)
    before = torch.get_rng_state()
    again = SequenceClassifier(**fitted.get_params()).fit(*sums())
    assert torch.equal(torch.get_rng_state(), before)
    X, _ = sums(seed=3)
    assert np.array_equal(again.predict_proba(X), fitted.predict_proba(X))
    other = SequenceClassifier(SMALL, TrainingConfig(epochs=1, seed=1)).fit(*sums())
    assert not np.array_equal(other.predict_proba(X), fitted.predict_proba(X))


def test_the_best_epoch_by_validation_data() -> None:
    records = []

    def keep(event: object) -> None:
        if isinstance(event, EpochDone):
            records.append(event.record)

    estimator = SequenceClassifier(SMALL, SHORT)
    X, y = sums(seed=5)
    estimator.fit(*sums(), validation_data=(X, y), on_event=keep)
    best = max(record["validation_accuracy"] for record in records)
    assert estimator.score(X, y) == best == estimator.history_.best_value
    unvalidated = SequenceClassifier(SMALL, SHORT, validation=0.0).fit(*sums())
    assert unvalidated.history_.best_epoch == SHORT.epochs


def test_by_default_few_examples_are_seen_often() -> None:
    X, y = sums(24)
    estimator = SequenceClassifier(SMALL).fit(X, y)
    assert len(estimator.history_.records) == FEWEST_UPDATES


@pytest.mark.parametrize(
    ("count", "training", "validated"),
    [
        (194, SHORT, False),  # 19 would be held out
        (195, SHORT, True),
        (40, replace(SHORT, patience=2), True),
        (40, replace(SHORT, schedule="plateau"), True),
    ],
)
def test_few_examples_are_all_trained_on(count: int, training: Any, validated: bool) -> None:
    X, y = sums(count)
    history = SequenceClassifier(SMALL, replace(training, epochs=2)).fit(X, y).history_
    assert ("validation_loss" in history.records[0]) == validated
    assert validated or history.best_epoch == 2


@pytest.mark.heavy
def test_the_defaults_serve_scanned_digits() -> None:
    digits = load_digits()
    X, y = (values.numpy() for values in digits.train.tensors)
    held_out, names = (values.numpy() for values in digits.validation.tensors)
    estimator = SequenceClassifier().fit(
        images_by_rows(X), y, validation_data=(images_by_rows(held_out), names)
    )
    test, truth = (values.numpy() for values in digits.test.tensors)
    assert estimator.score(images_by_rows(test), truth) >= 0.97


def test_several_targets() -> None:
    X, y = sums(192)
    y_last = [bool(values[-1, 1] > 0) for values in X]
    estimator = SequenceClassifier(SMALL, SHORT, target_weights={"last": 2.0})
    estimator.fit(X, {"sign": y, "last": y_last})
    assert estimator.classes_["last"].tolist() == [False, True]
    X, y = sums(seed=1)
    y_last = [bool(values[-1, 1] > 0) for values in X]
    found = estimator.evaluate(X, {"sign": y, "last": y_last})
    assert found["sign"]["accuracy"] > 0.9 and found["last"]["accuracy"] > 0.8
    predicted = estimator.predict(X)
    assert predicted.keys() == {"sign", "last"} and predicted["last"].dtype == bool
    mean = np.mean([found[name]["accuracy"] for name in found])
    assert estimator.score(X, {"sign": y, "last": y_last}) == pytest.approx(mean)
    with pytest.raises(TaskError, match="y has the targets sign: expected sign, last"):
        estimator.score(X, {"sign": y})
    with pytest.raises(TaskError, match="y is a list: expected a mapping from sign, last, as in"):
        estimator.score(X, y)


def test_class_weights_move_the_border() -> None:
    generator = np.random.default_rng(0)
    X = generator.normal(size=(200, 4, 1)) + 0.3
    y = ["rare" if chance < 0.1 else "common" for chance in generator.random(200)]
    shares = []
    for weight in (None, "balanced", {"rare": 0.0}):
        estimator = SequenceClassifier(SMALL, SHORT, class_weight=weight, validation=0)
        shares.append(estimator.fit(X, y).predict_proba(X)[:, 1].mean())
    assert shares[0] == pytest.approx(0.1, abs=0.07)
    assert shares[1] > 0.35 and shares[2] < 0.02


def test_images_and_columns_are_sequences(tmp_path: Path) -> None:
    digits = np.random.default_rng(0).normal(size=(40, 6))
    y = (digits[:, -1] > 0).astype(int)
    longer = TrainingConfig(epochs=30, batch_size=8, learning_rate=2e-2)
    estimator = SequenceClassifier(SMALL, longer, validation=0.0).fit(digits, y)
    assert estimator.n_features_in_ == 6
    assert set(estimator.predict(digits)) <= {0, 1}
    assert estimator.score(digits, y) > 0.8
    estimator.save(tmp_path / "model")
    with pytest.raises(DataError, match="X has 5 features, but SequenceClassifier is expecting 6"):
        SequenceClassifier.load(tmp_path / "model").predict(digits[:, :5])


def test_pipelines_and_searches() -> None:
    X = np.random.default_rng(0).normal(size=(60, 5))
    y = (X.sum(axis=1) > 0).astype(int)
    pipeline = make_pipeline(FunctionTransformer(lambda x: 2 * x), SequenceClassifier(SMALL, SHORT))
    assert pipeline.fit(X, y).score(X, y) > 0.8
    estimator = SequenceClassifier(SMALL, TrainingConfig(epochs=2))
    search = GridSearchCV(estimator, {"pooling": ["last", "mean"], "dropout": [0.0]}, cv=2)
    assert search.fit(X, y).best_params_["pooling"] in ("last", "mean")


def test_the_disk(fitted: SequenceClassifier, tmp_path: Path) -> None:
    X, _ = sums(seed=7)
    fitted.save(tmp_path / "model")
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == [
        "config.json",
        "model.safetensors",
    ]
    loaded = SequenceClassifier.load(tmp_path / "model")
    assert np.array_equal(loaded.predict_proba(X), fitted.predict_proba(X))
    assert loaded.get_params() == fitted.get_params()
    assert loaded.predict(X).dtype == fitted.predict(X).dtype
    with pytest.raises(RunFolderError, match="is not empty"):
        fitted.save(tmp_path / "model")


def test_a_run_folder_is_a_saved_estimator(tmp_path: Path) -> None:
    X, y = sums()
    estimator = SequenceClassifier(SMALL, SHORT, class_weight={"up": 2.0})
    estimator.fit(X, y, output=tmp_path / "run")
    loaded = SequenceClassifier.load(tmp_path / "run")
    assert np.array_equal(loaded.predict_proba(X), estimator.predict_proba(X))
    assert loaded.class_weight == {"up": 2.0}
    # What is finished has nothing left to do, and another estimator's run is not gone on with.
    again = SequenceClassifier(SMALL, SHORT, class_weight={"up": 2.0})
    again.fit(X, y, output=tmp_path / "run", resume=True)
    assert np.array_equal(again.predict_proba(X), estimator.predict_proba(X))
    with pytest.raises(TaskError, match="is the run of another estimator or of other data"):
        SequenceClassifier(SMALL, SHORT).fit(X, y, output=tmp_path / "run", resume=True)


def test_damaged_folders(fitted: SequenceClassifier, tmp_path: Path) -> None:
    fitted.save(tmp_path / "model")
    config = tmp_path / "model" / "config.json"
    whole = json.loads(config.read_text())

    def loading_after(**changes: Any) -> str:
        config.write_text(json.dumps({**whole, **changes}))
        with pytest.raises(RunFolderError) as error:
            SequenceClassifier.load(tmp_path / "model")
        return str(error.value)

    assert "holds 'Forecaster' of format 1: expected 'SequenceClassifier'" in loading_after(
        estimator="Forecaster"
    )
    assert "config.json is damaged" in loading_after(network={})
    assert "config.json is damaged" in loading_after(state={"targets": {}})
    assert "config.json is damaged" in loading_after(parameters={"lstm": {"units": 3}})
    with pytest.raises(RunFolderError, match="expected the folder of a training run"):
        SequenceClassifier.load(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("parameters", "kind", "message"),
    [
        ({"pooling": "sum"}, ValueError, "pooling"),
        ({"class_weight": "even"}, TaskError, "class_weight is 'even': expected 'balanced'"),
        ({"class_weight": {"left": 1.0}}, TaskError, "unknown label 'left': expected one of"),
        ({"class_weight": {"up": -1}}, TaskError, "class_weight of 'up' is -1: expected 0 or more"),
        ({"target_weights": {"side": 1.0}}, TaskError, "target_weights names side: the targets"),
        ({"validation": 1.0}, DataError, "the share to hold out is 1.0"),
    ],
)
def test_wrong_parameters(parameters: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        SequenceClassifier(SMALL, SHORT, **parameters).fit(*sums(16))


def test_wrong_data(fitted: SequenceClassifier) -> None:
    X, y = sums(16)
    with pytest.raises(TaskError, match="15 labels for 16 examples: expected one each"):
        SequenceClassifier(SMALL, SHORT).fit(X, y[:-1])
    with pytest.raises(TaskError, match="y has no targets"):
        SequenceClassifier(SMALL, SHORT).fit(X, {})
    with pytest.raises(DataError, match="sequences of 3 features: expected 2, as in fit"):
        fitted.predict(sums(4, features=3)[0])
    with pytest.raises(DataError, match="unknown label 'left': expected one of 'down', 'up'"):
        fitted.score(X, ["left"] * 16)
    bad = [np.array([[0.0, np.nan]])]
    with pytest.raises(DataError, match="sequence 0 holds nan at step 0, feature 1"):
        fitted.predict(bad)


LISTS_MAY_BE_OF_ANY_LENGTH = {
    name: "a list of lists is a list of sequences: those of `predict` may be longer"
    for name in ("check_classifiers_train",)
}


@parametrize_with_checks(
    [
        SequenceClassifier(
            SMALL, TrainingConfig(epochs=20, batch_size=8, learning_rate=2e-2), validation=0.0
        )
    ],
    expected_failed_checks=lambda _: LISTS_MAY_BE_OF_ANY_LENGTH,
)
def test_scikit_learn(estimator: Any, check: Any) -> None:
    check(estimator)
