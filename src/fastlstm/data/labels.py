"""Classes as numbers, and what each class weighs."""

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar, overload

import numpy as np

from fastlstm.data.errors import DataError

Label = str | int | bool


Kind = TypeVar("Kind", bound=Label)


class Labels(Sequence[Kind]):
    """A label for each example, kept as numbers: of a million labels few differ.

    Args:
        codes: the number of each label, integers `(N,)`; kept in the smallest type that holds them.
        classes: the labels in the order of their numbers, each once; not all need to appear.
    """

    def __init__(self, codes: np.ndarray, classes: Sequence[Kind]) -> None:
        self.codes = codes.astype(np.min_scalar_type(max(len(classes) - 1, 0)), copy=False)
        self.classes = list(classes)

    @staticmethod
    def of(labels: "Iterable[Kind]") -> "Labels[Kind]":
        """Labels that are there one by one: strings, integers or booleans, all of one type.

        Raises:
            DataError: as for `LabelIndex.of`.
        """
        given = list(labels)
        index = LabelIndex.of(given)
        classes: Any = index.classes
        return Labels(index.ids(given), classes)

    def __len__(self) -> int:
        return len(self.codes)

    @overload
    def __getitem__(self, index: int) -> Kind: ...
    @overload
    def __getitem__(self, index: slice) -> "Labels[Kind]": ...
    def __getitem__(self, index: int | slice) -> "Kind | Labels[Kind]":
        if isinstance(index, slice):
            return Labels(self.codes[index], self.classes)
        return self.classes[self.codes[index]]

    def select(self, indices: np.ndarray) -> "Labels[Kind]":
        """Those of some of the examples."""
        return Labels(self.codes[indices], self.classes)

    def present(self) -> np.ndarray:
        """The numbers of the classes that appear, in rising order."""
        return np.unique(self.codes)


class LabelIndex:
    """The classes of a target, and the number of each.

    Args:
        classes: strings, integers or booleans, each once.

    Raises:
        DataError: a class appears twice, is of another type, or there is none.
    """

    def __init__(self, classes: Iterable[Any]) -> None:
        self.classes: list[Label] = [_plain(label) for label in classes]
        if not self.classes:
            raise DataError("no classes: expected at least one label")
        # The type is part of the key: True, 1 and 1.0 are equal in Python.
        self._ids = {(type(label), label): index for index, label in enumerate(self.classes)}
        if len(self._ids) != len(self.classes):
            twice = next(label for label in self.classes if self.classes.count(label) > 1)
            raise DataError(f"class {twice!r} appears twice")

    @classmethod
    def of(cls, labels: Iterable[Any]) -> "LabelIndex":
        """The index of all labels that appear, in sorted order.

        Raises:
            DataError: there is none, or they are not all of one type.
        """
        # Each once before it is looked at.
        given = _different(labels) if isinstance(labels, Labels) else list(labels)
        try:
            different = {(type(label), label) for label in given}
        except TypeError:  # one that no set can hold, which `_plain` refuses
            different = [(type(label), label) for label in given]
        found = {(type(label), label) for label in (_plain(label) for _, label in different)}
        kinds = {kind for kind, _ in found}
        if len(kinds) > 1:
            names = " and ".join(sorted(kind.__name__ for kind in kinds))
            raise DataError(f"labels of more than one type ({names}): expected all of one")
        return cls(sorted(label for _, label in found))

    def __len__(self) -> int:
        return len(self.classes)

    def ids(self, labels: Iterable[Any]) -> np.ndarray:
        """Labels as numbers.

        Returns:
            int64 array from 0 to `len(self) - 1`.

        Raises:
            DataError: a label is none of the classes.
        """
        if isinstance(labels, Labels):
            numbers = np.zeros(len(labels.classes), dtype=np.int64)
            numbers[labels.present()] = self.ids(_different(labels))
            return numbers[labels.codes]
        given = list(labels)
        try:
            return self._numbers(given)
        except (KeyError, TypeError):
            pass  # NumPy's own kinds of text and numbers, or something unknown
        try:
            return self._numbers([_plain(label) for label in given])
        except KeyError as error:
            label = error.args[0][1]
            shown = ", ".join(repr(known) for known in self.classes[:10])
            more = f", … ({len(self)} in all)" if len(self) > 10 else ""
            raise DataError(f"unknown label {label!r}: expected one of {shown}{more}") from None

    def _numbers(self, labels: list[Any]) -> np.ndarray:
        return np.array([self._ids[type(label), label] for label in labels], dtype=np.int64)

    def labels(self, ids: Iterable[int]) -> list[Label]:
        """Numbers as labels."""
        return [self.classes[index] for index in ids]


def class_weights(ids: np.ndarray, class_count: int) -> np.ndarray:
    """Weights that make every class count the same: N / (K * number of its examples).

    The mean weight over the examples is 1. A class without examples gets 0, and K counts the
    classes that have some (King & Zeng 2001; scikit-learn's "balanced").

    Args:
        ids: the class of every example, integers `(N,)`.
        class_count: how many classes there are.

    Returns:
        float32 array `(class_count,)`.

    Raises:
        DataError: there is no example, or an id is out of range.
    """
    if len(ids) == 0 or ids.min() < 0 or ids.max() >= class_count:
        raise DataError(f"class weights need ids from 0 to {class_count - 1}, at least one of them")
    counts = np.bincount(ids, minlength=class_count)
    present = counts > 0
    weights = np.zeros(class_count, dtype=np.float32)
    weights[present] = len(ids) / (present.sum() * counts[present])
    return weights


def _different(labels: Labels) -> list[Label]:
    return [labels.classes[code] for code in labels.present().tolist()]


def _plain(label: Any) -> Label:
    if isinstance(label, np.generic):
        label = label.item()
    if not isinstance(label, str | int | bool):
        raise DataError(
            f"label {label!r} is a {type(label).__name__}: expected a string or an integer"
        )
    return label
