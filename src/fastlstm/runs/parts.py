"""The parts of a source, and training on those that are for it: what tasks with labels share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Protocol, TypeVar

from fastlstm.data import DataError, Labels
from fastlstm.runs.task import DataConfig, Parts
from fastlstm.training import Event

FEW_CLASSES = 4
"""So many labels are never too many for the examples."""


class LabelledPart(Protocol):
    """Examples and their labels, as an estimator takes them."""

    @property
    def X(self) -> Any:
        """The examples."""
        ...

    @property
    def y(self) -> Mapping[str, Sequence[Any]]:
        """The labels of each target: of an example, or of its steps."""
        ...

    def labels(self) -> Any:
        """The labels, of a single target without its name."""
        ...

    def __len__(self) -> int: ...


Part = TypeVar("Part", bound=LabelledPart)


def parts_of(
    examples: Part,
    noun: str,
    data: DataConfig,
    read_part: Callable[[Path], Part],
    hold_out: Callable[[Part, float], tuple[Part, Part, str]],
) -> Parts:
    """The parts of a source that has none of its own.

    Args:
        examples: all of the source.
        noun: what they are called.
        data: which files there are for the other parts, or the share of the test.
        read_part: reads such a file.
        hold_out: splits a share off for the test: what is left, the test part, and how it came to
            be, in words.

    Raises:
        DataError: there are too few examples, or a file cannot be read.
    """
    check_labels(examples, noun, data.source)
    validation = read_part(data.validation) if data.validation else None
    from_files = ", ".join(
        f"{name} from {path}"
        for name, path in (("validation", data.validation), ("test", data.test))
        if path is not None
    )
    if data.test is not None:
        train, test, note = examples, read_part(data.test), ""
    else:
        train, test, note = hold_out(examples, data.test_share)
    if not _of_steps(train):  # which are mistakes where their label is unknown
        check_known(train, test, data.test or Path(data.source))
        if validation is not None:
            check_known(train, validation, data.validation or Path(data.source))
    note = "; ".join(filter(None, [note, from_files]))
    return Parts(Path(data.source).stem, noun, train, validation, test, note, data)


def check_labels(examples: LabelledPart, noun: str, shown: str) -> None:
    """Raise, before anything is trained, unless there is something to learn in every target.

    Args:
        examples: their labels are one each, or one a step.
        noun: what the examples are called.
        shown: what the source is called.

    Raises:
        DataError: all labels are alike, or most are of one example alone, as measured values are.
    """
    of_steps = _of_steps(examples)
    for name, labels in examples.y.items():
        found = set(chain.from_iterable(labels)) if of_steps else _different(labels)
        where = f"{shown}, {name!r}"
        if len(found) == 1 and len(labels) > 1:
            raise DataError(
                f"{where}: the {len(labels):,} {noun} have one label, {next(iter(found))!r}: "
                f"expected two or more"
            )
        if not of_steps and len(found) > max(len(labels) / 2, FEW_CLASSES):
            raise DataError(
                f"{where}: {len(found):,} labels for {len(labels):,} {noun}: expected classes, "
                f"each of several {noun}"
            )


def _of_steps(examples: LabelledPart) -> bool:
    """Whether every step has a label, and not every example one."""
    labels = next(iter(examples.y.values()))
    return len(labels) > 0 and not isinstance(labels[0], str)


def _different(labels: Sequence[Any]) -> set[Any]:
    """The labels that appear, each once."""
    if isinstance(labels, Labels):
        return {labels.classes[number] for number in labels.present().tolist()}
    return set(labels)


def check_known(train: LabelledPart, part: LabelledPart, shown: Path) -> None:
    """Raise, before anything is trained, unless the training part has every label of another.

    Raises:
        DataError: it has not.
    """
    for name, labels in part.y.items():
        known = _different(train.y[name])
        unknown = sorted(_different(labels) - known)
        if unknown:
            raise DataError(
                f"{shown}, {name!r}: the training part has no label {unknown[0]!r}: expected some "
                f"of the {len(known):,} labels that it has"
            )


def refuse_files(data: DataConfig) -> None:
    """Raise if there are files for the parts of a set that has its own.

    Raises:
        DataError: there is one.
    """
    for name, path in (("validation", data.validation), ("test", data.test)):
        if path is not None:
            raise DataError(f"{data.source} has a {name} part of its own: expected no file for it")


def fit_on_parts(
    estimator: Any,
    parts: Parts,
    output: Path | None,
    resume: bool,
    on_event: Callable[[Event], None] | None,
) -> Any:
    """Fit an estimator on the parts for training, which are `LabelledPart`s."""
    train: Any = parts.train
    validation: Any = parts.validation
    return estimator.fit(
        train.X,
        train.labels(),
        validation_data=None if validation is None else (validation.X, validation.labels()),
        output=output,
        resume=resume,
        on_event=on_event,
    )
