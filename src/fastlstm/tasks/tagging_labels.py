"""A label for each step: the user's lists as numbers, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np

from fastlstm.data import LabelIndex
from fastlstm.tasks.errors import TaskError
from fastlstm.tasks.targets import ONLY, Targets


class StepTargets:
    """The classes of each target, for sequences that have a label a step.

    Args:
        targets: the classes.
    """

    def __init__(self, targets: Targets) -> None:
        self.targets = targets

    @classmethod
    def of(cls, y: Any, lengths: Sequence[int]) -> StepTargets:
        """The targets of training labels.

        Args:
            y: a list of lists of labels, or a mapping from name to such a list.
            lengths: the steps of each sequence.

        Raises:
            TaskError: not a label for each step, or a mapping without a target.
            DataError: labels that are neither text nor whole numbers.
        """
        if isinstance(y, Mapping):
            flat: Any = {name: _flat(str(name), rows, lengths) for name, rows in y.items()}
        else:
            flat = _flat(ONLY, y, lengths)
        return cls(Targets.of(flat))

    def ids(self, y: Any, lengths: Sequence[int]) -> dict[str, list[np.ndarray]]:
        """The labels of sequences as numbers, for each target an array `(T_i,)` each.

        Labels that training never saw have numbers of their own, from the number of classes on.

        Raises:
            TaskError: y has other targets, or not a label for each step.
            DataError: no label of a target is known.
        """
        by_name = self.targets.by_name(y)
        return {
            name: _numbers(index, _rows(name, by_name[name], lengths))
            for name, index in self.targets.indexes.items()
        }

    def of_user(self, ids: Mapping[str, Sequence[np.ndarray]]) -> Any:
        """Numbers as lists of labels, one for each sequence: by target, or the only one's."""
        indexes = self.targets.indexes
        return self.targets.of_user(
            {
                name: [indexes[name].labels(row.tolist()) for row in rows]
                for name, rows in ids.items()
            }
        )


def _flat(name: str, rows: Any, lengths: Sequence[int]) -> list[Any]:
    return list(chain.from_iterable(_rows(name, rows, lengths)))


def _rows(name: str, rows: Any, lengths: Sequence[int]) -> list[list[Any]]:
    """One target's labels as lists, as many as steps."""
    whose = "" if name == ONLY else f" of {name}"
    if isinstance(rows, str) or not hasattr(rows, "__len__"):
        raise TaskError(
            f"the labels{whose} are a {type(rows).__name__}: expected a list for each sequence"
        )
    if len(rows) != len(lengths):
        raise TaskError(
            f"{len(rows)} lists of labels{whose} for {len(lengths)} sequences: expected one each"
        )
    found = []
    for index, (row, length) in enumerate(zip(rows, lengths, strict=True)):
        if isinstance(row, str) or not hasattr(row, "__len__"):
            raise TaskError(
                f"the labels{whose} of sequence {index} are {row!r}: expected a list, one for each "
                "of its steps"
            )
        if len(row) != length:
            raise TaskError(
                f"sequence {index} has {len(row)} labels{whose} for {length} steps: expected one "
                "each"
            )
        found.append([one.item() if isinstance(one, np.generic) else one for one in row])
    return found


def _numbers(index: LabelIndex, rows: Sequence[Sequence[Any]]) -> list[np.ndarray]:
    # The type is part of the key: True, 1 and 1.0 are equal in Python.
    places = {(type(label), label): place for place, label in enumerate(index.classes)}
    found = [
        np.array([places.setdefault((type(one), one), len(places)) for one in row], np.int64)
        for row in rows
    ]
    if all((row >= len(index)).all() for row in found):
        index.ids(rows[0])  # tells what is known
    return found
