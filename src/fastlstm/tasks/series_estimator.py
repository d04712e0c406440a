"""What a forecaster is trained with: its series, its network, its run folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from fastlstm.config import from_mapping
from fastlstm.data import (
    DataError,
    Fill,
    SeriesColumns,
    SeriesSet,
    TimeRange,
    Windows,
    read_series,
)
from fastlstm.models import ForecastNetwork, ForecastNetworkConfig, OutputConfig
from fastlstm.tasks.estimator import Estimator
from fastlstm.tasks.forecasting import ForecastExamples, ForecastObjective, begin_with_seasons
from fastlstm.tasks.forecasting_calibration import (
    calibrate,
    load_calibration,
    save_calibration,
)
from fastlstm.tasks.forecasting_history import load_history, save_history
from fastlstm.tasks.forecasting_input import (
    check_counts,
    check_steps,
    is_array,
    read_array,
    spread_of_series,
    statistics,
    statistics_ahead,
    training_part,
)
from fastlstm.tasks.forecasting_recipe import Recipe, choose
from fastlstm.training import Event, is_first_process

OutputKind = Literal["quantile", "point", "normal", "student_t", "negative_binomial"]
PointLoss = Literal["mse", "mae", "huber"]
Decoder = Literal["direct", "autoregressive"]
Normalization = Literal["none", "standard", "last", "scale"]


class SeriesEstimator(Estimator):
    """Read series, train a network on them, save and load it: all but parameters and answers."""

    # The parameters; the constructor of the class below only stores them.
    horizon: int
    columns: SeriesColumns | None
    frequency: str | None
    season_length: int | None
    fill: Fill
    input_chunk: int | None
    segment: int | None
    output: OutputKind
    point_loss: PointLoss
    levels: tuple[float, ...] | None
    decoder: Decoder
    normalization: Normalization | None
    linear_skip: bool
    joint: bool
    calendar: tuple[str, ...] | None
    dropout: float
    validation: int | float

    recipe_: Recipe
    series_: SeriesSet

    def _fit_series(
        self,
        series: SeriesSet,
        output: str | Path | None = None,
        resume: bool = False,
        on_event: Callable[[Event], None] | None = None,
    ) -> Any:
        train, held_out = training_part(series, self.validation, self.horizon)
        if self.output == "negative_binomial":
            check_counts(series)
        season = self.season_of(series)
        self.recipe_ = recipe = choose(
            series,
            train,
            self.horizon,
            season,
            self.input_chunk,
            self.segment,
            self.calendar,
            self.joint,
        )
        series = series.with_calendar(recipe.calendar)
        self.series_ = series.last(recipe.input_chunk)
        _, spread = statistics(series, train, series.columns.targets)
        self._spread = np.where(spread > 0, spread, 1.0)
        self.network_ = self._build_seeded()
        self._prepare_network(series, train)
        units = spread_of_series(series, train)

        def windows_of(within: TimeRange) -> Windows:
            return Windows(
                series, recipe.input_chunk, self.horizon, within, 1, recipe.minimum_input
            )

        examples = ForecastExamples(windows_of(train), units, recipe.windows, recipe.targets)
        begin_with_seasons(self.network_, examples, season)
        validation = None
        if held_out is not None:
            windows = windows_of(held_out)
            # As many values as are trained on, but of all targets.
            most = max(1, recipe.windows * recipe.targets // units.shape[1])
            count = min(len(windows), most)
            validation = ForecastExamples(windows, units, count)
        objective = ForecastObjective(self.network_)
        self._train(objective, examples, validation, output, resume, on_event)
        if validation is not None:
            self.to(self._training_config().device)
            calibrate(self.network_, validation)
            self.to("cpu")
        if output is not None and is_first_process():
            save_calibration(Path(output), self.network_)
        return self

    def _check(self) -> None:
        """Refuse what would be hard to understand later."""
        check_steps("horizon", self.horizon)
        for name in ("season_length", "input_chunk", "segment"):
            if getattr(self, name) is not None:
                check_steps(name, getattr(self, name))

    def _read_anew(self, X: Any, static: Any) -> tuple[SeriesSet, int]:
        """The series of `fit`, and how many axes their array has; 0 for a frame."""
        if isinstance(X, SeriesSet):
            return X, 0
        if is_array(X):
            return read_array(X, self.columns, self.fill)
        return read_series(X, self.columns, self.frequency, self.fill, static), 0

    def _read(self, X: Any, static: Any) -> tuple[SeriesSet, int]:
        """Other series, as those of `fit` were."""
        fitted, axes = self.series_, 0
        if isinstance(X, SeriesSet):
            series = X
        elif is_array(X):
            series, axes = read_array(X, self.columns, self.fill)
            if bool(self._axes) != bool(axes):
                raise DataError("an array: expected a data frame, as in fit")
            if series.columns != fitted.columns:
                raise DataError(
                    f"an array of {len(series.columns.targets)} targets: expected "
                    f"{len(fitted.columns.targets)}, as in fit"
                )
        else:
            if self._axes:
                raise DataError("a data frame: expected an array, as in fit")
            series = read_series(
                X, self.columns, fitted.frequency, self.fill, static, fitted.static.known
            )
        return series.with_calendar(fitted.calendar), axes

    def season_of(self, series: SeriesSet) -> int:
        """How many steps a season of such series has: the user's, or that of the frequency."""
        return self.season_length or series.frequency.season_length

    def _network_config(self) -> ForecastNetworkConfig:
        series, counts = self.series_, self.output == "negative_binomial"
        levels = {} if self.levels is None else {"levels": tuple(self.levels)}
        return ForecastNetworkConfig(
            self.recipe_.input_chunk,
            self.horizon,
            channels=len(series.columns.targets),
            past_covariates=len(series.columns.past),
            future_covariates=len(series.future_names),
            static_numeric=series.static.numbers.shape[1],
            # One more than those that are known: 0 is any other.
            static_categories=tuple(len(known) + 1 for known in series.static.known.values()),
            segment=self.recipe_.segment,
            lstm=self._lstm_config(),
            decoder=self.decoder,
            normalization=self.normalization or ("scale" if counts else "last"),
            linear_skip=self.linear_skip,
            joint=self.joint,
            dropout=self.dropout,
            output=OutputConfig(self.output, self.point_loss, **levels),
        )

    def _build(self, config: ForecastNetworkConfig) -> nn.Module:
        return ForecastNetwork(config)

    def _prepare_network(self, series: SeriesSet, train: TimeRange) -> None:
        network = self.network_
        network.standardise_past.set_statistics(*statistics(series, train, series.columns.past))
        network.standardise_future.set_statistics(*statistics_ahead(series, train))
        numbers = series.static.numbers.astype(np.float64)
        network.static.standardise.set_statistics(
            torch.from_numpy(numbers.mean(axis=0)), torch.from_numpy(numbers.std(axis=0))
        )
        for embedding in network.static.embeddings:
            # A category that training has not seen says nothing.
            embedding.weight.data[0] = 0.0

    def _state(self) -> dict[str, Any]:
        return {"axes": self._axes, "spread": self._spread.tolist()}

    def _set_state(self, state: Mapping[str, Any]) -> None:
        self._axes = int(state["axes"])
        self._spread = np.array(state["spread"], dtype=np.float64)

    def _save_files(self, folder: Path) -> None:
        save_history(folder, self.series_)
        save_calibration(folder, self.network_)

    def _load_files(self, folder: Path) -> None:
        self.series_ = load_history(folder)
        load_calibration(folder, self.network_)

    def _network_from(self, mapping: Mapping[str, Any], where: str) -> nn.Module:
        return ForecastNetwork(from_mapping(ForecastNetworkConfig, mapping, where))
