"""The parts of a source, and training on those that are for it: what tasks with labels share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

from fastlstm.data import DataError
from fastlstm.runs.task import DataConfig, Parts
from fastlstm.training import Event


class LabelledPart(Protocol):
    """Examples and their labels, as an estimator takes them."""

    @property
    def X(self) -> Any:
        """The examples."""
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
    note = "; ".join(filter(None, [note, from_files]))
    return Parts(Path(data.source).stem, noun, train, validation, test, note)


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
