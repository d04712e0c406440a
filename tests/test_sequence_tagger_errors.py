"""What `SequenceTagger` refuses, and in which words."""

from typing import Any

import numpy as np
import pytest

from fastlstm.data import DataError
from fastlstm.models import ModelError
from fastlstm.tasks import SequenceTagger, TaskError
from fastlstm.training import TrainingConfig
from tagger_cases import SMALL, recordings, sentences

QUICK: dict[str, Any] = {**SMALL, "training": TrainingConfig(epochs=1)}


@pytest.fixture(scope="module")
def fitted() -> SequenceTagger:
    return SequenceTagger(**QUICK).fit(*sentences(16))


@pytest.mark.parametrize(
    ("parameters", "kind", "message"),
    [
        ({"frozen": True}, TaskError, "frozen is True: expected pretrained vectors with it"),
        ({"vectors": "none.txt"}, DataError, "none.txt does not exist"),
        ({"min_count": 0}, DataError, "min_count is 0: expected at least 1"),
        ({"characters": "gru"}, ModelError, "encoder must be"),
        ({"character_size": 7}, ModelError, "output_size must be even"),
        ({"chunk_steps": 0}, TaskError, "chunk_steps is 0: expected at least 1, or None"),
        ({"validation": 1.0}, DataError, "the share to hold out is 1.0"),
        ({"class_weight": "balanced", "crf": True}, TaskError, "class_weight weighs single steps"),
        ({"class_weight": {"ADJ": 1.0}}, TaskError, "unknown label 'ADJ': expected one of"),
        ({"target_weights": {"side": 1.0}}, TaskError, "target_weights names side: the targets"),
    ],
)
def test_wrong_parameters(parameters: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        SequenceTagger(**{**QUICK, **parameters}).fit(*sentences(16))


def test_vectors_of_words_for_frames() -> None:
    with pytest.raises(TaskError, match="vectors are those of words, and the steps are vectors"):
        SequenceTagger(**QUICK, vectors="some.txt").fit(*recordings(4))


WRONG_SEQUENCES: list[tuple[Any, str]] = [
    ("a text", "a str: expected a list of sequences"),
    ([], "no sequences: expected at least one"),
    (["a text"], "sequence 0 is the text 'a text': expected a list of tokens"),
    ([["a"], "b"], "sequence 1 is 'b': expected a list of tokens, not empty"),
    ([["a"], []], r"sequence 1 is \[\]: expected a list of tokens, not empty"),
    ([["a"], ["b", 3.5]], "sequence 1 holds a float at step 1: expected tokens, which are text"),
    ([np.zeros((0, 2))], r"sequence 0 has the shape \(0, 2\): expected \(T,\), \(T, F\),"),
    ([[[1.0], [1.0, 2.0]]], "sequence 0 is no array of numbers"),
    ([np.zeros((3, 2)), np.zeros((3, 4))], r"sequence 1 has frames of shape \(4,\): expected \(2,"),
    ([[[0.0, 1.0], [np.nan, 0.0]]], "sequence 0 holds nan at step 1: expected numbers only"),
    ([np.zeros((3, 2))], "sequences of vectors of 2: expected words, as in fit"),
]


@pytest.mark.parametrize(("X", "message"), WRONG_SEQUENCES)
def test_wrong_sequences(fitted: SequenceTagger, X: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        fitted.predict(X)


def test_wrong_labels(fitted: SequenceTagger) -> None:
    X, y = sentences(4)
    estimator = SequenceTagger(**QUICK)
    with pytest.raises(TaskError, match="3 lists of labels for 4 sequences: expected one each"):
        estimator.fit(X, y[:-1])
    short = [*y[:-1], y[-1][:-1]]
    steps = len(y[-1])
    message = f"sequence 3 has {steps - 1} labels of upos for {steps} steps: expected one each"
    with pytest.raises(TaskError, match=message):
        estimator.fit(X, {"upos": short})
    with pytest.raises(TaskError, match="the labels of sequence 0 are 'DET': expected a list, one"):
        estimator.fit(X, ["DET", "DET", "DET", "DET"])
    with pytest.raises(TaskError, match="the labels are a NoneType: expected a list for each"):
        estimator.fit(X, None)
    with pytest.raises(TaskError, match="y has no targets"):
        estimator.fit(X, {})
    with pytest.raises(DataError, match="unknown label 0: expected one of 'DET', 'NOUN'"):
        fitted.score(X, [[0] * len(row) for row in y])
    with pytest.raises(TaskError, match="2 groups for 4 sequences: expected one each"):
        estimator.fit(X, y, groups=[0, 1])
    with pytest.raises(TaskError, match=r"1 sequence of \d steps: a share of it cannot be"):
        estimator.fit(X[:1], y[:1])
