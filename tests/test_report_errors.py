"""What the sections of a report refuse, message by message."""

from collections.abc import Callable

import numpy as np
import pytest

from fastlstm.report import (
    AttendedSentence,
    Confusion,
    Forecast,
    HorizonErrors,
    LabelScores,
    LearningCurves,
    Metric,
    Recording,
    ReportError,
    Scores,
    TaggedSentence,
    attention,
    forecasts,
    recordings,
    tagged_sentences,
    worst_mistakes,
)

ONE = np.ones(1)
ERRORS: list[tuple[Callable[[], object], str]] = [
    (lambda: Scores([]), "expected at least one metric, got none"),
    (lambda: Scores([Metric("a", 1, 2)]), "a has a baseline: expected a baseline_name, got none"),
    (lambda: LearningCurves([1], {}, 1), "losses: expected one to three curves, got 0"),
    (
        lambda: LearningCurves([1], {"a": [1]}, 1, "m", {name: [1] for name in "abcd"}),
        "metrics: expected one to three curves, got 4",
    ),
    (
        lambda: LearningCurves([1, 2], {"a": [1]}, 1),
        "losses, a: expected a value for each of 2 epochs, got 1",
    ),
    (lambda: LearningCurves([1], {"a": [1]}, 2), "best_epoch: expected one of the epochs, got 2"),
    (
        lambda: Confusion(["a"], np.ones((2, 2), int)),
        "expected counts of shape (1, 1) for 1 classes, got (2, 2)",
    ),
    (
        lambda: Confusion([], np.ones((0, 0), int)),
        "expected counts of shape (0, 0) for 0 classes, got (0, 0)",
    ),
    (lambda: Confusion(["a"], np.array([[-1]])), "expected counts of at least 0, got -1"),
    (
        lambda: LabelScores(["a"], [1], [], [1], [1]),
        "recall: expected a value for each of 1 labels, got 0",
    ),
    (
        lambda: worst_mistakes([], 3, 2),
        "expected at most as many mistakes as were made, of as many examples: got 0 "
        "mistakes of 3 among 2 examples",
    ),
    (
        lambda: Forecast("s", ONE, np.ones(2), 1, ONE),
        "s: expected an actual value at each time, got values of shape (2,) at times of shape (1,)",
    ),
    (lambda: Forecast("s", ONE, ONE, 2, ONE), "s: expected a horizon of 1 to 1, got 2"),
    (lambda: Forecast("s", ONE, ONE, 1, np.ones(2)), "s, forecast: expected shape (1,), got (2,)"),
    (
        lambda: Forecast("s", ONE, ONE, 1, ONE, {80: (ONE, np.ones(3))}),
        "s, upper 80 %: expected shape (1,), got (3,)",
    ),
    (
        lambda: Forecast("s", ONE, ONE, 1, ONE, {100: (ONE, ONE)}),
        "s: expected a level from 1 to 99, got 100",
    ),
    (
        lambda: Forecast("s", ONE, ONE, 1, ONE, dict.fromkeys((50, 95, 80), (ONE, ONE))),
        "s: expected two intervals at most, got [50, 80, 95]",
    ),
    (lambda: forecasts([], 1), "expected 1 to 1 forecasts of 1 series, got 0"),
    (lambda: HorizonErrors("MAE", []), "expected the error of at least one step, got none"),
    (
        lambda: HorizonErrors("MAE", [1.0], [1.0, 2.0], "naive"),
        "naive: expected an error for each of 1 steps, got 2",
    ),
    (
        lambda: TaggedSentence(["a"], ["X"], []),
        "expected an actual and a predicted label for each token, got 1 tokens, 1 "
        "actual and 0 predicted labels",
    ),
    (lambda: tagged_sentences([], 1), "expected 1 to 1 of 1 sentences, got 0"),
    (
        lambda: Recording("a", ["x"], []),
        "a: expected a predicted label for each frame, got 1 actual and 0 predicted labels",
    ),
    (lambda: recordings([], 1), "expected 1 to 1 of 1 recordings, got 0"),
    (
        lambda: AttendedSentence(["a"], [], "x"),
        "expected a weight for each token, got 1 tokens and 0 weights",
    ),
    (lambda: AttendedSentence(["a"], [2.0], "x"), "expected weights from 0 to 1, got 2.0"),
    (lambda: attention([], 1), "expected 1 to 1 of 1 sentences, got 0"),
]


@pytest.mark.parametrize(("call", "message"), ERRORS, ids=[message[:40] for _, message in ERRORS])
def test_errors(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ReportError) as error:
        call()
    assert str(error.value) == message
