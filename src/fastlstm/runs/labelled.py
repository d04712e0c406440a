"""Examples with a class each: what the runs of all classifiers have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.metrics import confusion_matrix as count_confusions
from sklearn.metrics import precision_recall_fscore_support

from fastlstm.data import (
    DataError,
    LabelIndex,
    Labels,
    TextColumn,
    combined_ids,
    split_stratified,
)
from fastlstm.report import (
    Confusion,
    LabelScores,
    Metric,
    Mistake,
    Scores,
    Section,
    confusion_matrix,
    label_scores,
    worst_mistakes,
)
from fastlstm.tasks.classification import figures

if TYPE_CHECKING:
    import pyarrow as pa

BASELINE = "most frequent class"
SHOWN_MISTAKES = 24
_AT_ONCE = 8192


@dataclass(frozen=True)
class Labelled:
    """Examples and the class of each.

    Attributes:
        X: the examples as the estimator takes them: an array or a list.
        y: a label for each, by the name of the target.
        shown: how a person sees example i, if not as X has it: an image.
        features: the columns of the values, in their order; None where they were no columns.
    """

    X: Any
    y: Mapping[str, Labels[str]]
    shown: Callable[[int], Any] | None = None
    features: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.X)

    def labels(self) -> Any:
        """The labels as an estimator takes them: of a single target without its name."""
        return dict(self.y) if len(self.y) > 1 else next(iter(self.y.values()))

    def example(self, index: int) -> Any:
        """One example as a person sees it."""
        return self.X[index] if self.shown is None else self.shown(index)

    def select(self, indices: np.ndarray, *, spend: bool = False) -> Labelled:
        """Some of them.

        Args:
            indices: which; ascending.
            spend: take their place in memory; these examples are worth nothing afterwards.
        """
        if isinstance(self.X, np.ndarray):
            X: Any = _moved_to_front(self.X, indices) if spend else self.X[indices]
        elif isinstance(self.X, TextColumn):
            X = self.X.select(indices)
        else:
            X = [self.X[i] for i in indices.tolist()]
        y = {name: labels.select(indices) for name, labels in self.y.items()}
        shown = self.shown
        return Labelled(X, y, None if shown is None else lambda index: shown(int(indices[index])))


def _moved_to_front(values: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Some rows, ascending, where the first ones were: what is kept is not there twice."""
    for first in range(0, len(indices), _AT_ONCE):
        rows = indices[first : first + _AT_ONCE]
        # Each row moves towards the front: none is read after another was written over it.
        values[first : first + len(rows)] = values[rows]
    return values[: len(indices)]


def hold_out(examples: Labelled, share: float) -> tuple[Labelled, Labelled, str]:
    """Split a test part off, in which every class has its share.

    Returns:
        What is left, in the memory of `examples`, which are spent; the test part; and how it came
        to be, in words.

    Raises:
        DataError: there are too few examples for it.
    """
    codes = [labels.codes for labels in examples.y.values()]
    kept, held_out = split_stratified(combined_ids(codes), share)
    test = examples.select(held_out)
    note = f"{share:.0%} of the examples, drawn class by class, held out for the test"
    return examples.select(kept, spend=True), test, note


def measure(estimator: Any, part: Labelled) -> tuple[Scores, list[Section]]:
    """The scores of a classifier, and the sections of its report, target by target.

    Raises:
        DataError: a label that the estimator does not know.
    """
    several = len(part.y) > 1
    probabilities = _by_target(estimator.predict_proba(part.X), part)
    classes = _by_target(estimator.classes_, part)
    frequent = _by_target(estimator.most_frequent_, part)
    metrics: list[Metric] = []
    sections: list[Section] = []
    for name, labels in part.y.items():
        names = [str(label) for label in classes[name]]
        truth = LabelIndex(names).ids(labels)
        of_target = _metrics(truth, probabilities[name], names.index(str(frequent[name])))
        own = _sections(part, names, truth, probabilities[name])
        if several:
            of_target = [replace(m, name=f"{name}: {m.name}") for m in of_target]
            own = [replace(s, title=f"{s.title}: {name}") for s in own]
        metrics += of_target
        sections += own
    return Scores(metrics, BASELINE), sections


def _by_target(value: Any, part: Labelled) -> Mapping[str, Any]:
    return value if len(part.y) > 1 else {next(iter(part.y)): value}


def _metrics(truth: np.ndarray, probabilities: np.ndarray, frequent: int) -> list[Metric]:
    found = figures(truth, probabilities, frequent)
    constant = np.zeros_like(probabilities)
    constant[:, frequent] = 1.0
    baseline = figures(truth, constant, frequent)
    return [
        Metric("accuracy", found["accuracy"], baseline["accuracy"], percent=True),
        Metric(
            "balanced accuracy",
            found["balanced_accuracy"],
            baseline["balanced_accuracy"],
            percent=True,
        ),
        Metric("macro F1", found["macro_f1"], baseline["macro_f1"], percent=True),
        # Certainty that is wrong has no finite loss: the baseline has none to be held against.
        Metric("log loss", found["log_loss"], better="lower"),
    ]


def _sections(
    part: Labelled, names: list[str], truth: np.ndarray, probabilities: np.ndarray
) -> list[Section]:
    predicted = probabilities.argmax(axis=1)
    counts = count_confusions(truth, predicted, labels=np.arange(len(names)))
    of_labels = precision_recall_fscore_support(
        truth,
        predicted,
        labels=np.arange(len(names)),
        zero_division=np.nan,  # type: ignore[arg-type]  # as scikit-learn documents it
    )
    by_label = LabelScores(names, *(np.asarray(v).tolist() for v in of_labels))
    wrong = np.flatnonzero(predicted != truth)
    certain = probabilities[wrong, predicted[wrong]]
    worst = wrong[np.argsort(-certain, kind="stable")[:SHOWN_MISTAKES]]
    mistakes = [
        Mistake(
            part.example(index),
            names[truth[index]],
            names[predicted[index]],
            float(probabilities[index, predicted[index]]),
        )
        for index in worst.tolist()
    ]
    return [
        confusion_matrix(Confusion(names, counts)),
        worst_mistakes(mistakes, len(wrong), len(truth)),
        label_scores(by_label),
    ]


def with_predictions(
    table: pa.Table, estimator: Any, X: Any, targets: Sequence[str], shown: str
) -> pa.Table:
    """The columns of the input, and behind them what was predicted, how surely.

    With several targets the new columns are `prediction_NAME` and `probability_NAME`.

    Raises:
        DataError: the input has such a column already.
    """
    import pyarrow as pa

    probabilities = estimator.predict_proba(X)
    classes = estimator.classes_
    several = isinstance(probabilities, Mapping)
    for target in targets if several else targets[:1]:
        chances = np.asarray(probabilities[target] if several else probabilities)
        names = np.array([str(one) for one in (classes[target] if several else classes)])
        best = chances.argmax(axis=1)
        ending = f"_{target}" if several else ""
        columns = {
            f"prediction{ending}": pa.array(names[best]),
            f"probability{ending}": pa.array(chances[np.arange(len(best)), best]),
        }
        for name, values in columns.items():
            if name in table.column_names:
                raise DataError(f"{shown} has a column {name!r} already: rename it")
            table = table.append_column(name, values)
    return table


def labels_of(table: pa.Table, names: Sequence[str], shown: str) -> dict[str, Labels[str]]:
    """Columns of text as labels.

    Raises:
        DataError: a label is missing.
    """
    return {name: coded(table, name, shown) for name in names}


def coded(table: pa.Table, name: str, shown: str) -> Labels[str]:
    """A column of text as labels, numbered in the order in which they first appear.

    Raises:
        DataError: a text is missing, or blank.
    """
    chunks = table.column(name).dictionary_encode().unify_dictionaries().chunks
    classes = chunks[0].dictionary.to_pylist()
    codes = np.concatenate(
        [chunk.indices.fill_null(-1).to_numpy(zero_copy_only=False) for chunk in chunks]
    )
    blank = [place for place, text in enumerate(classes) if not text.strip()]
    wrong = codes < 0
    for code in blank:
        wrong |= codes == code
    if wrong.any():
        raise DataError(f"{shown}, column {name!r}: row {np.argmax(wrong) + 1} has no label")
    return Labels(codes, classes)


def describe(estimator: Any, what: str) -> str:
    """A sentence on the network: what it names, and how."""
    lstm = estimator.network_.config.lstm
    classes = estimator.classes_
    several = isinstance(classes, Mapping)
    number = f"{len(classes)} targets" if several else f"{len(classes)} classes"
    direction = "a bidirectional" if lstm.bidirectional else "an"
    layers = f"{lstm.num_layers} layers of " if lstm.num_layers > 1 else ""
    return (
        f"A classifier of {what} into {number}: {direction} LSTM of {layers}{lstm.hidden_size} "
        f"units, {estimator.pooling} pooling."
    )
