"""Name texts: `train text`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastlstm.data import (
    DataError,
    Labels,
    TextColumn,
    load_movie_reviews,
    read_table,
    read_text,
    release_memory,
)
from fastlstm.models import AttentionPooling
from fastlstm.report import AttendedSentence, attention
from fastlstm.runs import labelled
from fastlstm.runs.labelled import Labelled
from fastlstm.runs.parts import fit_on_parts, parts_of
from fastlstm.runs.settings import parameters, settings_of
from fastlstm.runs.space import Choice, Real, Space, Whole
from fastlstm.runs.task import DataConfig, Parts, Results
from fastlstm.tasks import TextClassifier
from fastlstm.training import Event, Metric

if TYPE_CHECKING:
    import pyarrow as pa

MOVIE_REVIEWS = "movie-reviews"
ATTENDED = 12
"""How many texts the report shows the attention of."""


@dataclass(frozen=True)
class TextData(DataConfig):
    """Where texts with a class each are, and how they are read.

    Args:
        source: `movie-reviews`, or a table (CSV, TSV, Parquet, JSON Lines).
        validation: as for `DataConfig`.
        test: as for `DataConfig`.
        test_share: as for `DataConfig`.
        text: the column of the texts.
        label: the columns of the classes, one for each target.
    """

    text: str = "text"
    label: tuple[str, ...] = ("label",)


class TextClassification:
    """Texts with a class each; see `fastlstm.runs.Task`."""

    name = "text"
    sets: Sequence[str] = (MOVIE_REVIEWS,)
    data = TextData
    settings = settings_of(TextClassifier)
    metrics: Sequence[Metric] = (
        Metric("weighted_accuracy", higher_is_better=True),
        Metric("accuracy", higher_is_better=True),
    )
    space: Mapping[str, Space] = {
        "lstm.hidden_size": Whole(32, 256, log=True),
        "embedding_size": Whole(32, 256, log=True),
        "training.learning_rate": Real(5e-4, 1e-2, log=True),
        "pooling": Choice(("last", "mean", "max", "concat", "attention")),
        "dropout": Real(0.0, 0.7),
        "word_dropout": Real(0.0, 0.5),
    }

    def read(self, data: TextData) -> Parts:
        """Read the movie reviews, or a table."""
        if data.text in data.label:
            raise DataError(f"text and label are both {data.text!r}: expected two columns")
        read = partial(self.read_part, data)
        return parts_of(self._source(data), "texts", data, read, labelled.hold_out)

    def _source(self, data: TextData) -> Labelled:
        if data.source != MOVIE_REVIEWS:
            return self.read_part(data, Path(data.source))
        reviews = load_movie_reviews()
        return Labelled(reviews.texts, {data.label[0]: Labels.of(reviews.labels)})

    def read_part(self, data: TextData, path: Path) -> Labelled:
        """Read a table of texts and labels."""
        table = read_table(path, (), texts=(data.text, *data.label))
        chunks, table = table.column(data.text).chunks, table.select(data.label)
        texts = TextColumn(chunks, f"{path}, column {data.text!r}")
        labels = labelled.labels_of(table, data.label, str(path))
        del table
        release_memory()
        return Labelled(texts, labels)

    def fit(
        self,
        settings: Any,
        parts: Parts,
        output: Path | None = None,
        resume: bool = False,
        on_event: Callable[[Event], None] | None = None,
    ) -> TextClassifier:
        """Fit a `TextClassifier`."""
        estimator = TextClassifier(**parameters(settings))
        return fit_on_parts(estimator, parts, output, resume, on_event)

    def load(self, path: Path) -> TextClassifier:
        """Read a `TextClassifier`."""
        return TextClassifier.load(path)

    def measure(self, estimator: TextClassifier, part: Labelled) -> Results:
        """Accuracy and the like, beside the most frequent class."""
        scores, sections = labelled.measure(estimator, part)
        attended = _attended(estimator, part.X[:ATTENDED])
        if attended:
            sections.append(attention(attended, len(part)))
        return Results(labelled.describe(estimator, "texts"), scores, sections)

    def predict(self, estimator: TextClassifier, data: TextData, path: Path) -> pa.Table:
        """Name the texts of a table, or of a plain text file, one a line."""
        import pyarrow as pa

        if path.suffix.lower() == ".txt":
            table = pa.table({data.text: _lines(path)})
        else:
            table = read_table(path, texts=(data.text,))
        texts = TextColumn(table.column(data.text).chunks, f"{path}, column {data.text!r}")
        return labelled.with_predictions(table, estimator, texts, data.label, str(path))


def _attended(estimator: TextClassifier, texts: Sequence[str]) -> list[AttendedSentence]:
    """Some texts with the weight of each token; none where the network has no attention."""
    network: Any = estimator.network_
    pooling = network.classifier.pooling
    if not isinstance(pooling, AttentionPooling):
        return []
    weights: list[list[float]] = []

    def look(module: Any, inputs: Any) -> None:
        weights.append(module.weights(*inputs)[0].tolist())

    hook = pooling.register_forward_pre_hook(look)
    try:
        labels = [_named(estimator.predict([text])) for text in texts]
    finally:
        hook.remove()
    tokens = [estimator.encoder_.tokens(text) for text in texts]
    return [AttendedSentence(*one) for one in zip(tokens, weights, labels, strict=True) if one[0]]


def _named(labels: Any) -> str:
    """The label of the only example, or that of each target."""
    if isinstance(labels, Mapping):
        return ", ".join(str(of_target[0]) for of_target in labels.values())
    return str(labels[0])


def _lines(path: Path) -> list[str]:
    """The lines of a UTF-8 file, cut at ends of lines alone."""
    lines = read_text(path).removesuffix("\n").split("\n")
    if lines == [""]:
        raise DataError(f"{path} is empty: expected a text a line")
    return lines
