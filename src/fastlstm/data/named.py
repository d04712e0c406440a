"""The named texts and series, read: what each part of the data that `sources` lists looks like."""

from typing import TYPE_CHECKING, NamedTuple

from fastlstm.data.errors import DataError
from fastlstm.data.files import read_source
from fastlstm.data.sources import find_source
from fastlstm.data.tables import read_csv
from fastlstm.data.tagged import TaggedSentences, read_conllu

if TYPE_CHECKING:
    import pyarrow as pa

ETT_NAMES = ("ETTh1", "ETTh2", "ETTm1", "ETTm2")
ETT_COLUMNS = ("HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT")


class LabelledTexts(NamedTuple):
    """Texts with a class each."""

    texts: list[str]
    labels: list[str]


class Treebank(NamedTuple):
    """Sentences in the three official parts."""

    train: TaggedSentences
    validation: TaggedSentences
    test: TaggedSentences


def load_movie_reviews() -> LabelledTexts:
    """Read the sentence polarity set (Pang & Lee 2005): 5,331 negative, then 5,331 positive ones.

    The words of the sentences are already apart and in lower case. There is no official split: the
    custom is 10-fold cross-validation.

    Raises:
        DataError: as for `read_source`.
    """
    texts, labels = [], []
    for label, file in find_source("movie-reviews").files.items():
        # By \n alone: some sentences hold signs at which splitlines would cut.
        lines = read_source(file).decode("latin-1").removesuffix("\n").split("\n")
        texts += [line.strip() for line in lines]
        labels += [label] * len(lines)
    return LabelledTexts(texts, labels)


def load_ud_ewt(targets: tuple[str, ...] = ("upos",)) -> Treebank:
    """Read the English Web Treebank of Universal Dependencies.

    Args:
        targets: as for `read_conllu`.

    Raises:
        DataError: as for `read_conllu` and `read_source`.
    """
    parts = find_source("ud-ewt").files
    return Treebank(
        **{
            part: read_conllu(read_source(file), targets, shown=file.file_name)
            for part, file in parts.items()
        }
    )


def load_ett(name: str = "ETTh1") -> "pa.Table":
    """Read one transformer (Zhou et al. 2021): its oil temperature `OT` and six loads.

    Args:
        name: ETTh1, ETTh2 (hourly), ETTm1 or ETTm2 (every 15 minutes).

    Returns:
        A table of `unique_id`, `ds` and the seven columns of `ETT_COLUMNS`.

    Raises:
        DataError: there is no such transformer, or as for `read_source`.
    """
    if name not in ETT_NAMES:
        raise DataError(f"unknown transformer {name!r}: expected one of {', '.join(ETT_NAMES)}")
    table = read_csv(read_source(find_source("ett").files[name]), f"{name}.csv")
    return _long_frame(table.rename_columns(["ds", *ETT_COLUMNS]), name)


def load_airline() -> "pa.Table":
    """Read the monthly totals of airline passengers in thousands, 1949 to 1960.

    Returns:
        A table of `unique_id`, `ds` and `y`, 144 rows.

    Raises:
        DataError: as for `read_source`.
    """
    return _monthly("airline", "airline-passengers")


def load_sunspots() -> "pa.Table":
    """Read the monthly numbers of sunspots, 1749 to 1983.

    Returns:
        A table of `unique_id`, `ds` and `y`, 2,820 rows.

    Raises:
        DataError: as for `read_source`.
    """
    return _monthly("sunspots", "monthly-sunspots")


def _monthly(source: str, file: str) -> "pa.Table":
    table = read_csv(read_source(find_source(source).files[file]), f"{file}.csv")
    return _long_frame(table.rename_columns(["ds", "y"]), source)


def _long_frame(table: "pa.Table", name: str) -> "pa.Table":
    import pyarrow as pa

    return table.add_column(0, "unique_id", pa.array([name] * len(table), pa.string()))
