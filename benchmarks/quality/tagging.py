"""The benchmarks of the tagger."""

from collections.abc import Callable
from functools import cache

import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import f1_score

from benchmarks.quality.benchmark import Benchmark, Mark, difference, mean, of, seeded
from fastlstm.data import (
    LabelledRecordings,
    TaggedSentences,
    Treebank,
    load_gesture_phase,
    load_ud_ewt,
)
from fastlstm.data.frames import RECORDINGS
from fastlstm.tasks import SequenceTagger

TARGETS = ("upos", "feats")
TOGETHER = "together"
TREES = 500
_treebank: Callable[[], Treebank] = cache(lambda: load_ud_ewt(TARGETS))
_recordings: Callable[[], LabelledRecordings] = cache(lambda: load_gesture_phase("derived"))


def _tagger(part: str, seed: int) -> SequenceTagger:
    return seeded(SequenceTagger(), seed)


def _train_words(estimator: SequenceTagger, part: str) -> Callable[[], dict[str, float]]:
    targets = TARGETS if part == TOGETHER else (part,)
    treebank = _treebank()

    def labels(sentences: TaggedSentences) -> dict[str, list[list[str]]]:
        return {target: sentences.labels[target] for target in targets}

    train, validation, test = treebank
    estimator.fit(
        train.tokens, labels(train), validation_data=(validation.tokens, labels(validation))
    )

    def measure() -> dict[str, float]:
        found = estimator.evaluate(test.tokens, labels(test))
        return {
            f"{target} {name}": figures[name]
            for target, figures in found.items()
            for name in ("accuracy", "baseline_accuracy")
        }

    return measure


def _train_frames(estimator: SequenceTagger, part: str) -> Callable[[], dict[str, float]]:
    recordings = _recordings()
    held_out = recordings.names.index(part)
    kept = [index for index in range(len(recordings.names)) if index != held_out]
    frames, labels = (
        [values[index] for index in kept] for values in (recordings.frames, recordings.labels)
    )
    estimator.fit(frames, labels)

    def measure() -> dict[str, float]:
        training = estimator.training
        assert training is not None
        forest = RandomForestClassifier(TREES, random_state=training.seed)
        forest.fit(np.concatenate(frames), np.concatenate(labels))
        test, truth = recordings.frames[held_out], recordings.labels[held_out]
        answers = {"": estimator.predict([test])[0], "forest ": forest.predict(test)}
        return {
            f"{who}macro_f1": float(f1_score(truth, said, average="macro"))
            for who, said in answers.items()
        }

    return measure


def _together_less_alone(target: str) -> Mark:
    score = f"{target} accuracy"
    return Mark(
        f"{target}: accuracy together less alone",
        difference(of(TOGETHER, score), of(target, score)),
        -0.003,
        per_cent=True,
    )


TAGGING = {
    "ud-ewt-upos": Benchmark(
        "UD English EWT, gold tokens, UPOS",
        ("upos",),
        (
            Mark(
                "accuracy",
                of("upos", "upos accuracy"),
                0.94,
                per_cent=True,
                published="88.3 (a BiLSTM, a public notebook)",
                minutes=10,
            ),
        ),
        _tagger,
        _train_words,
    ),
    "ud-ewt-joint": Benchmark(
        "UD English EWT, UPOS and features together, and each alone",
        (TOGETHER, *TARGETS),
        tuple(map(_together_less_alone, TARGETS)),
        _tagger,
        _train_words,
    ),
    "gesture-phase": Benchmark(
        "Gesture phases, one recording left out",
        RECORDINGS,
        (
            Mark(
                f"macro F1 by frame less that of a random forest of {TREES} trees, mean of the "
                "recordings",
                difference(mean("macro_f1"), mean("forest macro_f1")),
                0.03,
                per_cent=True,
            ),
        ),
        _tagger,
        _train_frames,
    ),
}
