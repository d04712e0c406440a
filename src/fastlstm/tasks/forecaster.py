"""Forecast series: one or many, alone or together, with what else is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from fastlstm.data import (
    Fill,
    SeriesColumns,
    SeriesSet,
    TimeRange,
    Windows,
    read_future,
    stamped_frame,
)
from fastlstm.models import LSTMConfig
from fastlstm.tasks.forecasting import PREDICTION_BATCH, latest_batches
from fastlstm.tasks.forecasting_answers import (
    answer_array,
    answer_frame,
    forecasts_of,
    interval_levels,
    named_columns,
)
from fastlstm.tasks.forecasting_input import check_steps
from fastlstm.tasks.forecasting_scores import ForecastScores, measure
from fastlstm.tasks.series_estimator import (
    Decoder,
    Normalization,
    OutputKind,
    PointLoss,
    SeriesEstimator,
)
from fastlstm.training import Event, TrainingConfig


class Forecaster(SeriesEstimator):
    """Forecast the next steps of series with an LSTM, one model for all of them.

    An estimator as scikit-learn has them: `fit`, `predict`, `score`, `clone`. The series come as a
    long data frame of pandas, Polars or pyarrow, a row for each series and time step, with the
    columns `unique_id`, `ds` and `y` unless `columns` says others; or as an array: `(T,)`, one
    series; `(T, C)`, one of C targets; `(N, T, C)`, N such series.

    What is read of a series is chosen from the horizon, the frequency and the amount of data where
    it is None; `recipe_` shows the choice after `fit`.

    Of the output "quantile", `fit` ends with the intervals: their ends move outwards until they
    hold their share of the validation part, the less the fewer windows that has (conformalised
    quantile regression, Romano, Patterson & Candès 2019). The median, and so every point forecast,
    stays. Nothing is moved without a validation part, of a run that was interrupted, nor of the
    distributions, whose form is not the data's to choose.

    Args:
        horizon: how many steps are forecast.
        columns: which column is what: names, time, one or several targets, past, future and static
            covariates; None: `SeriesColumns()`.
        lstm: the layers; None: `Forecaster.default_lstm`.
        training: how it is trained; None: `Forecaster.default_training`. An epoch has 1,024 to
            16,384 windows, whatever the amount of data; of hundreds of targets some are drawn for
            each batch, so that an epoch costs no more.
        frequency: the distance of two steps, such as "h", "15min", "D", "MS"; None: found out.
        season_length: how many steps a season has, for the naive forecast and the choices; None:
            a day for steps of less than a day, a week for days, a year for weeks, months and
            quarters; else 1, which repeats the last value.
        fill: what becomes of missing steps and values: "error", "forward", "linear" or "zero".
        input_chunk: how many steps are read; None: chosen.
        segment: how many of them the LSTM reads at once, a divisor of `input_chunk`; None: chosen.
        output: what is forecast: "quantile", "point", "normal", "student_t" or "negative_binomial"
            (counts).
        point_loss: of the output "point": "mse", "mae" or "huber".
        levels: of the output "quantile": the quantiles that are learned; None: those of the
            intervals that hold 50, 80, 90 and 95 %, and the median.
        decoder: "direct", all steps at once, or "autoregressive", each from the one before.
        normalization: the units of a window: "none", "standard", "last" or "scale"; None: "last",
            for counts "scale".
        linear_skip: whether a linear map of the window is added to the forecast.
        joint: whether several targets are read together; else each is forecast by itself, with the
            same weights.
        calendar: which features of the time stamps are read: some of "hour", "weekday", "day",
            "month"; None: the usual ones of which the training data has seen two periods.
        dropout: the rate of dropout before the last layer.
        validation: how much of the end of each series the best epoch is chosen by: a share, or a
            number of steps; at least the horizon. 0: none, and the last epoch is kept.

    Attributes:
        network_: the trained `fastlstm.models.ForecastNetwork`.
        series_: the last steps of the series of `fit`.
        recipe_: what was chosen.
        history_: the `fastlstm.training.History`.
    """

    default_lstm: ClassVar = LSTMConfig(hidden_size=64)
    default_training: ClassVar = TrainingConfig(epochs=10)

    def __init__(
        self,
        horizon: int = 24,
        columns: SeriesColumns | None = None,
        lstm: LSTMConfig | None = None,
        training: TrainingConfig | None = None,
        *,
        frequency: str | None = None,
        season_length: int | None = None,
        fill: Fill = "error",
        input_chunk: int | None = None,
        segment: int | None = None,
        output: OutputKind = "quantile",
        point_loss: PointLoss = "mae",
        levels: tuple[float, ...] | None = None,
        decoder: Decoder = "direct",
        normalization: Normalization | None = None,
        linear_skip: bool = True,
        joint: bool = False,
        calendar: tuple[str, ...] | None = None,
        dropout: float = 0.1,
        validation: int | float = 0.1,
    ) -> None:
        self.horizon = horizon
        self.columns = columns
        self.lstm = lstm
        self.training = training
        self.frequency = frequency
        self.season_length = season_length
        self.fill = fill
        self.input_chunk = input_chunk
        self.segment = segment
        self.output = output
        self.point_loss = point_loss
        self.levels = levels
        self.decoder = decoder
        self.normalization = normalization
        self.linear_skip = linear_skip
        self.joint = joint
        self.calendar = calendar
        self.dropout = dropout
        self.validation = validation

    def fit(
        self,
        X: Any,
        y: None = None,
        *,
        static: Any = None,
        output: str | Path | None = None,
        resume: bool = False,
        on_event: Callable[[Event], None] | None = None,
    ) -> Any:
        """Train on series.

        Args:
            X: a data frame or an array; see the class.
            y: not used; what is forecast is a part of X.
            static: a frame with a row for each series and its static columns; None: they are in X.
            output: a new or empty folder to keep the run in, from which `load` reads it back; None:
                nowhere.
            resume: go on with the interrupted run in `output`.
            on_event: called with what happens.

        Returns:
            The forecaster.

        Raises:
            DataError: series that cannot be read, or are too short.
            TaskError, ModelError, ConfigError: a parameter that does not fit.
            TrainingError, RunFolderError, Interrupted: as `fastlstm.training.fit`.
        """
        self._check()
        series, self._axes = self._read_anew(X, static)
        return self._fit_series(series, output, resume, on_event)

    def predict(
        self,
        X: Any = None,
        level: Sequence[float] | None = None,
        *,
        future: Any = None,
        static: Any = None,
    ) -> Any:
        """Forecast the steps that follow series.

        Args:
            X: the series, those of `fit` or others; None: go on from the end of those of `fit`.
            level: the intervals to give with each forecast, in percent: `[80, 90]`.
            future: a frame of the future covariates of the steps ahead, where there are any.
            static: as in `fit`.

        Returns:
            For a frame one of the same library: identifier, time and `LSTM`, with `LSTM-lo-80`,
            `LSTM-hi-80` and so on for the intervals; of several targets `OT-LSTM` and so on. For an
            array one of as many axes: `(H,)`, `(H, C)` or `(N, H, C)`; with `level` a mapping of
            such by the same names.

        Raises:
            DataError: series or covariates that cannot be read.
            TaskError, ModelError: an interval that the model does not have.
        """
        check_is_fitted(self, "network_")
        ends = interval_levels(level)
        series, axes = (self.series_, self._axes) if X is None else self._read(X, static)
        known = read_future(future, series, self.horizon)
        window = self.network_.config.window
        forecasts = forecasts_of(
            self.network_, latest_batches(series, window, known, self.horizon), ends
        )
        if axes:
            return answer_array(forecasts, axes, level is not None)
        return answer_frame(series, forecasts, self.horizon)

    def measure(
        self,
        X: Any,
        steps: int | None = None,
        stride: int = 1,
        *,
        standardised: bool = False,
        static: Any = None,
    ) -> ForecastScores:
        """Measure forecasts of the end of series from what is before; see `evaluate`.

        Returns:
            The figures of `evaluate`, and the error at each step ahead.
        """
        check_is_fitted(self, "network_")
        series, _ = self._read(X, static)
        before, end = TimeRange.whole(series).split_last(
            self.horizon if steps is None else max(steps, self.horizon)
        )
        windows = Windows(
            series, self.network_.config.window, self.horizon, end, stride, minimum_input=1
        )
        unit = self._spread if standardised else None
        return measure(self.network_, windows, before, self.season_of(series), unit)

    def evaluate(
        self,
        X: Any,
        steps: int | None = None,
        stride: int = 1,
        *,
        standardised: bool = False,
        static: Any = None,
    ) -> dict[str, float]:
        """MAE, MSE, RMSE, sMAPE (in percent) and MASE beside those of the seasonal naive forecast.

        With a distribution also its CRPS (about: twice the mean pinball loss of nine quantiles) and
        the share of the values that lie within the intervals of 80 and 90 %. All are means over
        windows, steps and targets.

        Args:
            X: series, with what happened at their end.
            steps: how many steps at the end of each series are forecast; None: the horizon. With
                more, every window that fits is forecast, each from all that is before it.
            stride: the distance between two such windows.
            standardised: errors in units of each target's standard deviation in training, as
                papers give them for ETT; sMAPE and MASE have no unit.
            static: as in `fit`.

        Returns:
            The figures by name; `naive_mae` and so on of the seasonal naive forecast.
        """
        return self.measure(X, steps, stride, standardised=standardised, static=static).figures

    def score(self, X: Any, y: None = None, *, steps: int | None = None, stride: int = 1) -> float:
        """The skill: 1 - MAE / MAE of the seasonal naive forecast; 1 is perfect, 0 no better.

        Args:
            X: as in `evaluate`.
            y: not used.
            steps: as in `evaluate`.
            stride: as in `evaluate`.
        """
        figures = self.evaluate(X, steps, stride)
        return 1 - figures["mae"] / figures["naive_mae"] if figures["naive_mae"] else 0.0

    def cross_validation(
        self,
        X: Any,
        windows: int = 3,
        step: int | None = None,
        *,
        refit: bool = False,
        level: Sequence[float] | None = None,
        static: Any = None,
    ) -> Any:
        """Train on the past and forecast what followed, at several places at the end of the series.

        This forecaster stays as it is: a copy is trained on what lies before the first place.

        Args:
            X: series, as in `fit`.
            windows: how many places.
            step: the distance between them; None: the horizon.
            refit: whether a copy is trained anew at each place.
            level: as in `predict`.
            static: as in `fit`.

        Returns:
            A frame of identifier, time, `cutoff` (the last step before the forecast), what happened
            and the columns of `predict`; an Arrow table for arrays.

        Raises:
            TaskError: there is no place.
            DataError: a series is too short.
        """
        self._check()
        check_steps("windows", windows)
        step = self.horizon if step is None else step
        check_steps("step", step)
        series, axes = self._read_anew(X, static)
        model: Any = clone(self)
        model._axes = axes
        found: list[dict[str, np.ndarray]] = []
        for place in range(windows):
            left = self.horizon + (windows - 1 - place) * step
            if refit or place == 0:
                model._fit_series(series.without_last(left))
            found.append(model._columns_at(series, left, level))
        joined = {name: np.concatenate([part[name] for part in found], axis=1) for name in found[0]}
        times = {name: joined.pop(name) for name in (series.columns.time, "cutoff")}
        return stamped_frame(series, times, joined)

    def forecast_end(
        self, X: Any, level: Sequence[float] | None = None, left: int | None = None
    ) -> dict[str, np.ndarray]:
        """Forecast steps at the end of series from what is before.

        Args:
            X: series, with what happened at their end.
            level: as in `predict`.
            left: the forecast begins so many steps before the end; None: the horizon.

        Returns:
            Arrays `(N, H, C)`: the forecast by the name "", and by "-lo-80", "-hi-80" and so on
            the ends of its intervals.
        """
        check_is_fitted(self, "network_")
        series, _ = self._read(X, None)
        start = series.offsets[1:] - (self.horizon if left is None else left)
        within = TimeRange(start, start + self.horizon)
        windows = Windows(series, self.network_.config.window, self.horizon, within, 1, 1)
        batches = (
            windows.batch(np.arange(first, min(first + PREDICTION_BATCH, len(windows))))
            for first in range(0, len(windows), PREDICTION_BATCH)
        )
        return forecasts_of(self.network_, batches, interval_levels(level))

    def _columns_at(
        self, series: SeriesSet, left: int, level: Sequence[float] | None
    ) -> dict[str, np.ndarray]:
        """What is forecast `left` steps before the end of each series: columns `(N, H)`."""
        forecasts = self.forecast_end(series, level, left)
        rows = series.offsets[1:, None] - left + np.arange(self.horizon)
        steps = series.lengths[:, None] - left + np.arange(self.horizon)
        stamps = series.frequency.stamps(np.repeat(series.first, self.horizon), steps.ravel())
        last = series.frequency.stamps(series.first, series.lengths - left - 1)
        return {
            series.columns.time: stamps.reshape(steps.shape),
            "cutoff": np.repeat(last[:, None], self.horizon, axis=1),
            **{name: series.values[name][rows] for name in series.columns.targets},
            **named_columns(series, forecasts),
        }
