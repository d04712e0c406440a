"""One target or several: the user's labels as numbers, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import assert_all_finite, column_or_1d

from fastlstm.data import DataError, LabelIndex, Labels, class_weights
from fastlstm.tasks.errors import TaskError

ONLY = "label"
"""The name inside of a target that its user gave no name."""

ClassWeight = str | Mapping[Any, float] | None
"""`"balanced"`, a weight for each class (of every target, or by target's name), or None."""


class Targets:
    """The classes of each target.

    Args:
        indexes: of each target by name.
        named: whether labels come and go by name; else there is one target, `ONLY`.
    """

    def __init__(self, indexes: Mapping[str, LabelIndex], named: bool) -> None:
        self.indexes = dict(indexes)
        self.named = named

    @classmethod
    def of(cls, y: Any) -> Targets:
        """The targets of training labels: a sequence, or a mapping from name to sequence.

        Raises:
            DataError: there are no labels, or some that are neither text nor whole numbers.
            TaskError: a mapping without a target.
        """
        named = isinstance(y, Mapping)
        if named and not y:
            raise TaskError("y has no targets: expected at least one name with its labels")
        by_name = dict(y) if named else {ONLY: y}
        return cls({str(name): LabelIndex.of(_flat(v)) for name, v in by_name.items()}, named)

    @property
    def sizes(self) -> dict[str, int]:
        """The number of classes of each target."""
        return {name: len(index) for name, index in self.indexes.items()}

    def by_name(self, y: Any) -> dict[str, Any]:
        """Labels by the name of their target.

        Raises:
            TaskError: y has other targets.
        """
        if isinstance(y, Mapping) != self.named:
            expected = "a mapping from " + ", ".join(self.indexes) if self.named else "one sequence"
            raise TaskError(f"y is a {type(y).__name__}: expected {expected}, as in fit")
        by_name = dict(y) if self.named else {ONLY: y}
        if set(by_name) != set(self.indexes):
            raise TaskError(
                f"y has the targets {', '.join(map(str, by_name))}: expected "
                f"{', '.join(self.indexes)}"
            )
        return by_name

    def ids(self, y: Any, count: int) -> dict[str, np.ndarray]:
        """The labels of `count` examples as numbers (N) of the smallest type, for each target.

        Raises:
            TaskError: y has other targets.
            DataError: a label is unknown, or there are more or fewer than examples.
        """
        by_name = self.by_name(y)
        ids = {}
        for name, index in self.indexes.items():
            labels = _flat(by_name[name])
            if len(labels) != count:
                what = "labels" if name == ONLY else f"labels of {name}"
                raise TaskError(f"{len(labels)} {what} for {count} examples: expected one each")
            ids[name] = index.ids(labels).astype(np.min_scalar_type(len(index)))
        return ids

    def of_user(self, values: Mapping[str, Any]) -> Any:
        """A value for each target as the user has them: by name, or the only one."""
        return dict(values) if self.named else values[ONLY]

    def classes(self) -> Any:
        """The classes of each target in the order of their probabilities: `classes_`."""
        return self.of_user({name: np.array(i.classes) for name, i in self.indexes.items()})

    def labels(self, ids: Mapping[str, np.ndarray]) -> Any:
        """Numbers as labels: arrays (N)."""
        return self.of_user(
            {name: np.array(index.classes)[ids[name]] for name, index in self.indexes.items()}
        )

    def to_mapping(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "named": self.named,
            "classes": {name: index.classes for name, index in self.indexes.items()},
        }

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> Targets:
        """What `to_mapping` wrote.

        Raises:
            KeyError, TypeError, DataError: the mapping is no such thing.
        """
        classes = {name: LabelIndex(found) for name, found in mapping["classes"].items()}
        return cls(classes, bool(mapping["named"]))

    def loss_weights(self, given: Mapping[str, float] | None) -> dict[str, float]:
        """What each target's loss counts; 1 for those that are not given.

        Raises:
            TaskError: a name that is none of the targets.
        """
        unknown = set(given or {}) - set(self.indexes)
        if unknown:
            raise TaskError(
                f"target_weights names {', '.join(sorted(unknown))}: the targets are "
                f"{', '.join(self.indexes)}"
            )
        return {name: (given or {}).get(name, 1.0) for name in self.indexes}

    def weights(
        self, class_weight: ClassWeight, ids: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """What each class weighs in the loss: float32 (K) for each target that has weights.

        Raises:
            TaskError: weights of another form, or for a class that there is not.
        """
        if class_weight is None:
            return {}
        if isinstance(class_weight, str):
            if class_weight != "balanced":
                raise TaskError(
                    f"class_weight is {class_weight!r}: expected 'balanced', None or weights"
                )
            return {name: class_weights(ids[name], size) for name, size in self.sizes.items()}
        by_name = dict(class_weight) if self.named else {ONLY: class_weight}
        return {name: self._given_weights(name, given) for name, given in by_name.items()}

    def _given_weights(self, name: str, given: Any) -> np.ndarray:
        if name not in self.indexes or not isinstance(given, Mapping):
            raise TaskError(
                "class_weight must map each class to its weight"
                + (f", for each of {', '.join(self.indexes)}" if self.named else "")
                + f", got {given!r} for {name!r}"
            )
        weights = np.ones(len(self.indexes[name]), dtype=np.float32)
        for label, weight in given.items():
            try:
                place = self.indexes[name].ids([label])[0]
            except DataError as error:
                raise TaskError(f"class_weight: {error}") from error
            if not weight >= 0:
                raise TaskError(f"class_weight of {label!r} is {weight!r}: expected 0 or more")
            weights[place] = weight
        return weights


def _flat(labels: Any) -> Sequence[Any]:
    """Labels as a flat sequence, from a list, an array, or a column of a data frame."""
    if isinstance(labels, (list, tuple, Labels)):
        return labels
    if isinstance(labels, torch.Tensor):
        labels = labels.cpu().numpy()
    array = column_or_1d(labels, warn=True)
    assert_all_finite(array, input_name="y")
    check_classification_targets(array)
    if array.dtype.kind == "f":  # whole numbers, or the check had refused them
        array = array.astype(np.int64)
    return array.tolist()
