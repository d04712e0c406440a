"""Forecast series: `train forecast`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

import numpy as np

from fastlstm.data import (
    ETT_NAMES,
    DataError,
    SeriesColumns,
    SeriesSet,
    load_airline,
    load_ett,
    load_sunspots,
    read_rows,
    read_series,
    read_table,
    release_memory,
    series_of_rows,
)
from fastlstm.runs.forecast_results import results_of
from fastlstm.runs.forecast_series import ForecastData, SeriesPart, future_rows, series_columns
from fastlstm.runs.parts import refuse_files
from fastlstm.runs.settings import parameters, settings_of
from fastlstm.runs.space import Choice, Real, Space, Whole
from fastlstm.runs.task import Parts, Results
from fastlstm.tasks import Forecaster
from fastlstm.training import Event, Metric

if TYPE_CHECKING:
    import pyarrow as pa

LEVELS = (80, 90)
"""The intervals that are written with forecasts, in percent."""


# What the data say already is no setting.
_OF_DATA = ("horizon", "columns", "frequency", "fill")


def _settings() -> type[Any]:
    """The parameters of a `Forecaster` that do not follow from the data."""
    found = settings_of(Forecaster)
    hints = get_type_hints(found)
    fields = [
        (field.name, hints[field.name], dataclasses.field(default=field.default))
        for field in dataclasses.fields(found)
        if field.name not in _OF_DATA
    ]
    return dataclasses.make_dataclass(found.__name__, fields, frozen=True)


class Forecasting:
    """One or many series; see `fastlstm.runs.Task`."""

    name = "forecast"
    sets: Sequence[str] = ("ett", *ETT_NAMES, "airline", "sunspots")
    data = ForecastData
    settings = _settings()
    metrics: Sequence[Metric] = (Metric("loss", higher_is_better=False),)
    space: Mapping[str, Space] = {
        "lstm.hidden_size": Whole(32, 256, log=True),
        "training.learning_rate": Real(5e-4, 1e-2, log=True),
        "normalization": Choice(("last", "standard")),
        "dropout": Real(0.0, 0.5),
    }

    def read(self, data: ForecastData) -> Parts:
        """Read a named set or a table; the end of each series is the test part."""
        if data.validation is not None:
            raise DataError(
                f"validation is {data.validation}: expected no file, as the best epoch is chosen "
                "by the end of each series"
            )
        if data.source in self.sets:
            return _read_set(data)
        series = _read_file(data, Path(data.source))
        if data.test is not None:
            test = self.read_part(data, data.test)
            train = SeriesPart.of(series, data)
            return Parts(Path(data.source).stem, "steps", train, None, test, f"test {data.test}")
        train, test, note = _hold_out(series, data)
        return Parts(Path(data.source).stem, "steps", train, None, test, note)

    def read_part(self, data: ForecastData, path: Path) -> SeriesPart:
        """Read a table; the end of each series is what is forecast."""
        series = _read_file(data, path)
        return SeriesPart.of(series, data, _test_steps(series, data))

    def fit(
        self,
        settings: Any,
        parts: Parts,
        output: Path | None = None,
        resume: bool = False,
        on_event: Callable[[Event], None] | None = None,
    ) -> Forecaster:
        """Fit a `Forecaster`."""
        train, validation = parts.train, parts.validation
        assert isinstance(train, SeriesPart)
        given = parameters(settings)
        if isinstance(validation, SeriesPart):
            given["validation"] = validation.steps
        estimator = Forecaster(train.horizon, train.series.columns, fill=train.fill, **given)
        return estimator.fit(train.series, output=output, resume=resume, on_event=on_event)

    def load(self, path: Path) -> Forecaster:
        """Read a `Forecaster`."""
        return Forecaster.load(path)

    def measure(self, estimator: Forecaster, part: SeriesPart) -> Results:
        """MAE and the like, beside the seasonal naive forecast; forecasts over what happened."""
        return results_of(estimator, part)

    def predict(self, estimator: Forecaster, data: ForecastData, path: Path) -> pa.Table:
        """Forecast what follows the series of a file, with intervals."""
        columns = estimator.series_.columns
        table, ahead = future_rows(_read_columns(columns, path), columns)
        series = read_series(
            table,
            columns,
            estimator.series_.frequency,
            data.fill,
            known_categories=estimator.series_.static.known,
        )
        level = None if estimator.output == "point" else list(LEVELS)
        return estimator.predict(series, level, future=ahead)


def _read_columns(columns: SeriesColumns, path: Path) -> pa.Table:
    """The columns of a file that a model reads."""
    others = [*filter(None, [columns.identifier]), columns.time, *columns.static]
    return read_table(path, [*others, *columns.values], numbers=columns.values)


def _read_file(data: ForecastData, path: Path) -> SeriesSet:
    columns = series_columns(data)
    rows = read_rows(_read_columns(columns, path), columns)  # which is the only one to hold them
    release_memory()
    return series_of_rows(rows, data.frequency, data.fill)


def _test_steps(series: SeriesSet, data: ForecastData) -> int:
    """How many steps at the end of each series are the test part."""
    return max(data.horizon, round(float(np.median(series.lengths)) * data.test_share))


def _hold_out(series: SeriesSet, data: ForecastData) -> tuple[SeriesPart, SeriesPart, str]:
    """The series up to the test part, and all of them; what was done in words."""
    steps = _test_steps(series, data)
    long = np.flatnonzero(series.lengths > steps)
    if len(long) == 0:
        raise DataError(
            f"{data.source}: the longest series has {series.lengths.max()} steps, and the last "
            f"{steps} of each are held out for the test: expected more"
        )
    note = f"the last {steps:,} steps of each series held out for the test"
    if len(long) < len(series):
        note += f"; {len(series) - len(long)} series have no more, and are left out"
        series = series.select(long)
    test = SeriesPart.of(series, data, steps)
    return SeriesPart.of(series.without_last(steps), data), test, note


def _read_set(data: ForecastData) -> Parts:
    refuse_files(data)
    for role in ("past", "future", "static", "id"):
        if getattr(data, role):
            raise DataError(f"{data.source} is read as it is known: expected no {role}")
    if data.source == "airline":
        return _monthly(data, load_airline(), 24)
    if data.source == "sunspots":
        return _monthly(data, load_sunspots(), 480)
    name = "ETTh1" if data.source == "ett" else data.source
    table = load_ett(name)
    targets = data.target or tuple(table.column_names[2:])
    series = read_series(table, SeriesColumns(targets=targets))
    # 12, 4 and 4 months of 30 days (Zhou et al. 2021); what follows is not used.
    month = 30 * series.frequency.season_length
    series = series.without_last(int(series.lengths[0]) - 20 * month)
    return Parts(
        name,
        "steps",
        SeriesPart.of(series.without_last(4 * month), data),
        SeriesPart.of(series.without_last(4 * month), data, 4 * month),
        SeriesPart.of(series, data, 4 * month, standardised=True),
        "12, 4 and 4 months of 30 days",
    )


def _monthly(data: ForecastData, table: pa.Table, steps: int) -> Parts:
    series = read_series(table, SeriesColumns())
    return Parts(
        data.source,
        "steps",
        SeriesPart.of(series.without_last(steps), data),
        None,
        SeriesPart.of(series, data, steps),
        f"the last {steps} months held out for the test",
    )
