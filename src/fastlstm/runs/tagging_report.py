"""What a tagger's run shows: scores beside the most frequent tag, and where the mistakes are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from fastlstm.report import (
    Confusion,
    LabelScores,
    Metric,
    Recording,
    Scores,
    Section,
    TaggedSentence,
    confusion_matrix,
    label_scores,
    recordings,
    tagged_sentences,
)
from fastlstm.runs.tagging_files import Tagged
from fastlstm.runs.task import Results
from fastlstm.tasks import SequenceTagger

# The figures of `SequenceTagger.evaluate`, the deciding one first, and what they are called.
_FIGURES = {
    "span_f1": "span F1",
    "span_precision": "span precision",
    "span_recall": "span recall",
    "accuracy": "accuracy",
    "macro_f1": "macro F1",
    "unknown_word_accuracy": "unknown words",
}
_SHOWN_SENTENCES = 12
_SHOWN_RECORDINGS = 8


def measure(estimator: SequenceTagger, part: Tagged) -> Results:
    """The scores of a tagger, and the sections of its report, target by target."""
    figures = _by_target(estimator.evaluate(part.X, part.labels()), part)
    said = _by_target(estimator.predict(part.X), part)
    metrics: list[Metric] = []
    sections: list[Section] = []
    for name, labels in part.y.items():
        of_target = _metrics(figures[name])
        predicted = [[str(one) for one in row] for row in said[name]]
        own = _sections(part, labels, predicted)
        if len(part.y) > 1:
            of_target = [replace(one, name=f"{name}: {one.name}") for one in of_target]
            own = [replace(one, title=f"{one.title}: {name}") for one in own]
        metrics += of_target
        sections += own
    baseline = "most frequent tag" if part.of_words else "most frequent class"
    return Results(_description(estimator, part), Scores(metrics, baseline), sections)


def _by_target(value: Any, part: Tagged) -> Mapping[str, Any]:
    return value if len(part.y) > 1 else {next(iter(part.y)): value}


def _metrics(figures: Mapping[str, float]) -> list[Metric]:
    return [
        Metric(shown, figures[name], figures.get(f"baseline_{name}"), percent=True)
        for name, shown in _FIGURES.items()
        if name in figures
    ]


def _sections(
    part: Tagged, labels: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]
) -> list[Section]:
    flat = [one for rows in (labels, predicted) for row in rows for one in row]
    names, places = np.unique(flat, return_inverse=True)
    size = len(names)
    truth, said = np.split(places, 2)
    counts = np.bincount(size * truth + said, minlength=size**2).reshape(size, size)
    shown = _sentences if part.of_words else _recordings
    return [
        shown(part, labels, predicted),
        confusion_matrix(Confusion(names.tolist(), counts)),
        label_scores(_label_scores(names.tolist(), counts)),
    ]


def _label_scores(names: Sequence[str], counts: np.ndarray) -> LabelScores:
    """Of each label, from how often each was taken for each: `(K, K)`, a row for each actual one.

    A label that was never said has no precision, and one that never was no recall: NaN.
    """
    hits, said, true = counts.diagonal(), counts.sum(axis=0), counts.sum(axis=1)
    with np.errstate(invalid="ignore"):
        precision, recall = hits / said, hits / true
    f1 = 2 * hits / (said + true)
    return LabelScores(names, precision.tolist(), recall.tolist(), f1.tolist(), true.tolist())


def _sentences(
    part: Tagged, labels: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]
) -> Section:
    """Those with the most mistakes."""
    wrong = [
        sum(one != other for one, other in zip(*rows, strict=True))
        for rows in zip(labels, predicted, strict=True)
    ]
    worst = sorted(range(len(part)), key=lambda index: -wrong[index])[:_SHOWN_SENTENCES]
    shown = [TaggedSentence(part.X[i], labels[i], predicted[i]) for i in worst]
    section = tagged_sentences(shown, len(part))
    return replace(section, note=f"Those with the most errors. {section.note}")


def _recordings(
    part: Tagged, labels: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]
) -> Section:
    rows = zip(part.names, labels, predicted, strict=True)
    shown = [Recording(*row) for row in rows][:_SHOWN_RECORDINGS]
    return recordings(shown, len(part))


def _description(estimator: SequenceTagger, part: Tagged) -> str:
    lstm = estimator.network_.config.lstm
    classes = estimator.classes_
    several = isinstance(classes, Mapping)
    number = f"{len(classes)} targets" if several else f"{len(classes)} classes"
    steps = "words" if part.of_words else "frames"
    direction = "a bidirectional" if lstm.bidirectional else "an"
    layers = f"{lstm.num_layers} layers of " if lstm.num_layers > 1 else ""
    chain = ", and a CRF" if estimator.crf else ""
    return (
        f"A tagger of {steps} with {number}: {direction} LSTM of {layers}{lstm.hidden_size} "
        f"units{chain}."
    )
