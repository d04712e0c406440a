"""Name whole sequences: `train classify`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from fastlstm.data import DataError, Labels, load_digits, load_mnist
from fastlstm.data.images import ImageDataset
from fastlstm.runs import labelled
from fastlstm.runs.images import SUFFIXES, image_files, labelled_images, read_images
from fastlstm.runs.labelled import Labelled
from fastlstm.runs.parts import fit_on_parts, parts_of, refuse_files
from fastlstm.runs.sequence_tables import read_sequences
from fastlstm.runs.settings import parameters, settings_of
from fastlstm.runs.space import Choice, Real, Space, Whole
from fastlstm.runs.task import DataConfig, Parts, Results
from fastlstm.tasks import SequenceClassifier
from fastlstm.training import Event, Metric

if TYPE_CHECKING:
    import pyarrow as pa

# The size of the images and the brightest value of a pixel.
_IMAGE_SETS: Mapping[str, tuple[Callable[[], ImageDataset], tuple[int, int], int]] = {
    "digits": (load_digits, (8, 8), 16),
    "mnist": (load_mnist, (28, 28), 255),
}


@dataclass(frozen=True)
class ClassificationData(DataConfig):
    """Where sequences or images with a class each are, and how they are read.

    Args:
        source: `digits`, `mnist`, a table (CSV, TSV, Parquet, JSON Lines) or a folder that holds a
            folder of images for each class.
        validation: as for `DataConfig`.
        test: as for `DataConfig`.
        test_share: as for `DataConfig`.
        label: the columns of the classes, one for each target.
        features: the columns of the values; None: all others that have a name. Where they are lists
            (JSON Lines, Parquet), a row is a sequence whose lists have a value a step, or a vector.
        ignore: columns that are neither values nor anything else, such as names and remarks.
        sequence: the column that says which sequence a row is a step of; None: each row is a whole
            sequence: its lists, or one value a step in the order of its columns.
        time: the column that orders the steps of a sequence; None: as they stand in the file.
        by: what a step of an image is: a row of it, or a pixel.
        size: rows and columns that images are scaled to; None: as they are.
        colour: whether images keep their colours.
    """

    label: tuple[str, ...] = ("label",)
    features: tuple[str, ...] | None = None
    ignore: tuple[str, ...] = ()
    sequence: str | None = None
    time: str | None = None
    by: Literal["rows", "pixels"] = "rows"
    size: tuple[int, int] | None = None
    colour: bool = False


class Classification:
    """Sequences of vectors, and images read as such; see `fastlstm.runs.Task`."""

    name = "classify"
    sets: Sequence[str] = tuple(_IMAGE_SETS)
    data = ClassificationData
    settings = settings_of(SequenceClassifier)
    metrics: Sequence[Metric] = (
        Metric("weighted_accuracy", higher_is_better=True),
        Metric("accuracy", higher_is_better=True),
    )
    space: Mapping[str, Space] = {
        "lstm.hidden_size": Whole(32, 256, log=True),
        "lstm.bidirectional": Choice(("true", "false")),
        "training.learning_rate": Real(5e-4, 1e-2, log=True),
        "pooling": Choice(("last", "mean", "max", "concat", "attention")),
        "dropout": Real(0.0, 0.5),
    }

    def read(self, data: ClassificationData) -> Parts:
        """Read a named set, a table or a folder of images."""
        if data.source in _IMAGE_SETS:
            return _read_set(data)
        path = Path(data.source)
        noun = "images" if path.is_dir() else "sequences"
        examples = self.read_part(data, path)
        if examples.features is not None:  # another file may have its columns in another order
            data = replace(data, features=examples.features)
        read = partial(self.read_part, data)
        return parts_of(examples, noun, data, read, labelled.hold_out)

    def read_part(self, data: ClassificationData, path: Path) -> Labelled:
        """Read a table with labels, or a folder of images with a folder for each class."""
        if path.is_dir():
            files, labels = labelled_images(path)
            return _images(data, read_images(files, _size(data), data.colour), labels)
        found = read_sequences(path, data, labels=True)
        return Labelled(found.X, found.labels, features=found.features)

    def fit(
        self,
        settings: Any,
        parts: Parts,
        output: Path | None = None,
        resume: bool = False,
        on_event: Callable[[Event], None] | None = None,
    ) -> SequenceClassifier:
        """Fit a `SequenceClassifier`."""
        estimator = SequenceClassifier(**parameters(settings))
        return fit_on_parts(estimator, parts, output, resume, on_event)

    def load(self, path: Path) -> SequenceClassifier:
        """Read a `SequenceClassifier`."""
        return SequenceClassifier.load(path)

    def measure(self, estimator: SequenceClassifier, part: Labelled) -> Results:
        """Accuracy and the like, beside the most frequent class."""
        scores, sections = labelled.measure(estimator, part)
        what = "images" if part.shown is not None else "sequences"
        return Results(labelled.describe(estimator, what), scores, sections)

    def predict(
        self, estimator: SequenceClassifier, data: ClassificationData, path: Path
    ) -> pa.Table:
        """Name the sequences of a table, an image, or the images of a folder."""
        import pyarrow as pa

        if path.is_dir() or path.suffix.lower() in SUFFIXES:
            files = image_files(path) if path.is_dir() else [path]
            if not files:
                raise DataError(f"{path} holds no images: expected one of {', '.join(SUFFIXES)}")
            X = _steps(read_images(files, _size(data), data.colour), data.by)
            table = pa.table({"file": [str(file) for file in files]})
        else:
            found = read_sequences(path, data, labels=False)
            X, table = found.X, found.table
        return labelled.with_predictions(table, estimator, X, data.label, str(path))


def _size(data: ClassificationData) -> tuple[int, int] | None:
    """The size of images; those for a network of a named set are scaled to the set's."""
    if data.size is None and data.source in _IMAGE_SETS:
        return _IMAGE_SETS[data.source][1]
    return data.size


def _read_set(data: ClassificationData) -> Parts:
    load, _, brightest = _IMAGE_SETS[data.source]
    refuse_files(data)
    dataset = load()

    def part(tensors: Sequence[Any]) -> Labelled:
        images, labels = (tensor.numpy() for tensor in tensors)
        # As image files have them, so that others can be predicted and all can be seen.
        scaled = images if brightest == 255 else (images * (255 / brightest)).astype(np.uint8)
        return _images(data, list(scaled), [str(label) for label in labels.tolist()])

    return Parts(
        data.source,
        "images",
        part(dataset.train.tensors),
        part(dataset.validation.tensors),
        part(dataset.test.tensors),
    )


def _images(data: ClassificationData, images: list[np.ndarray], labels: list[str]) -> Labelled:
    return Labelled(_steps(images, data.by), {data.label[0]: Labels.of(labels)}, images.__getitem__)


def _steps(images: list[np.ndarray], by: str) -> Any:
    """Images as sequences of their rows or pixels: one array where all are of one size."""
    steps = [
        image.reshape(len(image), -1)
        if by == "rows"
        else image.reshape(-1, image.shape[2] if image.ndim == 3 else 1)
        for image in images
    ]
    if len({found.shape for found in steps}) == 1:
        return np.stack(steps).astype(np.float32) / 255
    return [found.astype(np.float32) / 255 for found in steps]
