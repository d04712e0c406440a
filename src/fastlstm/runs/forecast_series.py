"""Series as a run holds them, and the rows of a file that lie ahead."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastlstm.data import DataError, Fill, SeriesColumns, SeriesSet
from fastlstm.runs.task import DataConfig

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class ForecastData(DataConfig):
    """Where series are, and how they are read: a row for each time step, of each series.

    Args:
        source: `ETTh1`, `ETTh2`, `ETTm1`, `ETTm2` (`ett` is the first), `airline`, `sunspots`, or a
            table (CSV, TSV, Parquet, JSON Lines).
        validation: not for series: the best epoch is chosen by their end.
        test: a file of series whose end is forecast; None: the end of those of `source`.
        test_share: the share of the steps, at the end of each series, that is forecast.
        horizon: how many steps are forecast at once.
        time: the column of the time steps: dates, times, or numbers that count.
        target: the columns to forecast; none: `y`, of a named set all.
        id: the column that says which series a row belongs to; None: there is one series.
        past: covariates that are known up to now.
        future: covariates that are known ahead. To predict, the rows ahead stand in the file with
            empty targets.
        static: properties of a series, the same in all its rows.
        frequency: the distance of two steps, such as 15min, h, D, MS; None: found out.
        fill: what becomes of missing steps and values: error, forward, linear or zero.
    """

    horizon: int = 24
    time: str = "ds"
    target: tuple[str, ...] = ()
    id: str | None = None
    past: tuple[str, ...] = ()
    future: tuple[str, ...] = ()
    static: tuple[str, ...] = ()
    frequency: str | None = None
    fill: Fill = "error"


@dataclass(frozen=True)
class SeriesPart:
    """Series, and how much of their end is meant.

    Attributes:
        series: with all that is before.
        steps: so many at the end of each are forecast; 0: the part is the whole.
        horizon: how many steps are forecast at once.
        fill: how gaps were filled.
        standardised: whether errors are measured in the spread of each target in training.
    """

    series: SeriesSet
    steps: int
    horizon: int
    fill: Fill
    standardised: bool

    @classmethod
    def of(
        cls, series: SeriesSet, data: ForecastData, steps: int = 0, standardised: bool = False
    ) -> SeriesPart:
        """The end of series; several targets have units of their own, and are standardised."""
        several = len(series.columns.targets) > 1
        return cls(series, steps, data.horizon, data.fill, standardised or several)

    def __len__(self) -> int:
        lengths = self.series.lengths
        return int((lengths.clip(max=self.steps) if self.steps else lengths).sum())


def series_columns(data: ForecastData) -> SeriesColumns:
    """The roles of the columns of the user's own file."""
    return SeriesColumns(
        identifier=data.id,
        time=data.time,
        targets=data.target or ("y",),
        past=data.past,
        future=data.future,
        static=data.static,
    )


def future_rows(table: pa.Table, columns: SeriesColumns) -> tuple[pa.Table, Any]:
    """The rows of a file up to now, and those ahead, where no target is known.

    Returns:
        The table without the rows ahead; and these, or None where there are no future covariates.

    Raises:
        DataError: there is no row with a target.
    """
    import narwhals.stable.v2 as nw

    if not columns.future:
        return table, None
    opened = nw.from_native(table, eager_only=True)
    is_known = nw.any_horizontal(
        *(~nw.col(name).is_null() for name in columns.targets), ignore_nulls=False
    )
    now = opened.filter(is_known)
    if len(now) == 0:
        raise DataError(f"no row has a value of {', '.join(columns.targets)}: expected some")
    return now.to_native(), opened.filter(~is_known).to_native()
