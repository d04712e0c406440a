"""What a forecaster goes on from, in a file: the last steps of the series of its training."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fastlstm.atomic import write_atomically
from fastlstm.data import FrameStyle, Frequency, SeriesColumns, SeriesSet, StaticCovariates
from fastlstm.tasks.errors import TaskError
from fastlstm.training import RunFolderError
from fastlstm.training.weights import from_file, to_bytes

FILE = "series.safetensors"
DESCRIPTION = "series"


def save_history(folder: Path, series: SeriesSet) -> None:
    """Write the series: their values as tensors, and the rest as JSON in the metadata.

    Raises:
        TaskError: the names of the series are neither text nor whole numbers.
        RunFolderError: the disk refuses.
    """
    for name in series.names:
        if not isinstance(name, (str, int)):
            raise TaskError(
                f"the series {name!r} is named by a {type(name).__name__}, which cannot be saved: "
                "expected text or whole numbers"
            )
    static = series.static
    tensors = {f"values.{name}": values for name, values in series.values.items()}
    tensors |= {"offsets": series.offsets, "first": series.first.astype(np.int64)}
    tensors |= {"static.numbers": static.numbers, "static.categories": static.categories}
    style = asdict(series.style)
    style["backend"] = str(getattr(series.style.backend, "value", series.style.backend))
    description = {
        "names": series.names,
        "dates": series.first.dtype.kind == "M",
        "frequency": asdict(series.frequency),
        "columns": asdict(series.columns),
        "number_names": static.number_names,
        "known": static.known,
        "calendar": series.calendar,
        "style": style,
    }
    content = to_bytes(
        {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in tensors.items()},
        {DESCRIPTION: json.dumps(description)},
    )
    try:
        write_atomically(folder / FILE, content)
    except OSError as error:
        raise RunFolderError(f"cannot write {folder / FILE}: {error.strerror}") from error


def load_history(folder: Path) -> SeriesSet:
    """Read what `save_history` wrote.

    Raises:
        RunFolderError: the file is missing or damaged.
    """
    path = folder / FILE
    if not path.exists():
        raise RunFolderError(f"{path} does not exist: expected the series of a forecaster")
    tensors, metadata = from_file(path)
    try:
        found: dict[str, Any] = json.loads(metadata[DESCRIPTION])
        arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
        first = arrays["first"]
        columns = {name: _tuples(value) for name, value in found["columns"].items()}
        return SeriesSet(
            names=found["names"],
            offsets=arrays["offsets"],
            first=first.astype("datetime64[us]") if found["dates"] else first,
            frequency=Frequency(**found["frequency"]),
            values={
                name.removeprefix("values."): array
                for name, array in arrays.items()
                if name.startswith("values.")
            },
            columns=SeriesColumns(**columns),
            static=StaticCovariates(
                arrays["static.numbers"],
                arrays["static.categories"],
                tuple(found["number_names"]),
                found["known"],
            ),
            calendar=tuple(found["calendar"]),
            style=FrameStyle(**found["style"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise RunFolderError(f"{path} is damaged: {error}") from error


def _tuples(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
