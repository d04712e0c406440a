"""What a forecaster learns from: a stretch of a series and the steps that follow it.

A window is a number. Nothing is copied before a batch is gathered, and there is no list of windows
either: the series and the step are calculated from the number.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch

from fastlstm.data.errors import DataError
from fastlstm.data.series import SeriesSet


class WindowBatch(NamedTuple):
    """B windows of T steps up to now, and the H steps that follow.

    Args:
        past: the targets up to now, float32 `(B, T, C)`.
        observed: how many of the T steps are real, int64 `(B,)`; the ones before a series begins
            repeat its first step.
        past_covariates: float32 `(B, T, P)`.
        future_covariates: what is known ahead, for the past and the horizon: `(B, T + H, F)`.
        static_numbers: float32 `(B, S)`.
        static_categories: int64 `(B, K)`; 0 is unknown.
        target: what is to be forecast, `(B, H, C)`; `(B, 0, C)` where it is not known yet.
        series: the number of the series of each window, int64 `(B,)`.
    """

    past: torch.Tensor
    observed: torch.Tensor
    past_covariates: torch.Tensor
    future_covariates: torch.Tensor
    static_numbers: torch.Tensor
    static_categories: torch.Tensor
    target: torch.Tensor
    series: torch.Tensor


@dataclass(frozen=True)
class TimeRange:
    """Some steps of each series, as rows of a `SeriesSet`.

    Args:
        start: int64 `(N,)`: the first row of each.
        stop: int64 `(N,)`: the row behind the last of each.
    """

    start: np.ndarray
    stop: np.ndarray

    @classmethod
    def whole(cls, series: SeriesSet) -> "TimeRange":
        """All steps of all series."""
        return cls(series.offsets[:-1], series.offsets[1:])

    @property
    def lengths(self) -> np.ndarray:
        """The number of steps of each series, `(N,)`."""
        return self.stop - self.start

    def split_last(self, steps: int) -> tuple["TimeRange", "TimeRange"]:
        """Cut off the last steps of each series; of a shorter one, all.

        Raises:
            DataError: it is less than one step.
        """
        if steps < 1:
            raise DataError(f"the last {steps} steps: expected at least 1")
        border = np.maximum(self.start, self.stop - steps)
        return TimeRange(self.start, border), TimeRange(border, self.stop)

    def split_share(self, share: float) -> tuple["TimeRange", "TimeRange"]:
        """Cut off the last share of each series, rounded.

        Raises:
            DataError: it is not between 0 and 1.
        """
        if not 0 < share < 1:
            raise DataError(f"the share to cut off is {share}: expected more than 0, less than 1")
        border = self.stop - np.rint(self.lengths * share).astype(np.int64)
        return TimeRange(self.start, border), TimeRange(border, self.stop)


def ett_ranges(series: SeriesSet) -> tuple[TimeRange, TimeRange, TimeRange]:
    """The usual parts of an ETT set: 12, 4 and 4 months of 30 days (Zhou et al. 2021).

    Returns:
        Training, validation and test; what follows is not used.

    Raises:
        DataError: the series are shorter than 20 such months.
    """
    month = 30 * series.frequency.season_length
    if (series.lengths < 20 * month).any():
        raise DataError(
            f"a series of {series.lengths.min():,} steps: the parts of ETT need {20 * month:,}"
        )
    borders = [series.offsets[:-1] + months * month for months in (0, 12, 16, 20)]
    train, validation, test = (TimeRange(*pair) for pair in pairwise(borders))
    return train, validation, test


class Windows:
    """All windows whose forecasts lie inside a range of time; their past may reach back before it.

    Args:
        series: what they are cut from.
        input_chunk: T, how many steps up to now a window shows.
        horizon: H, how many steps follow.
        within: where the forecast steps must lie; None for everywhere.
        stride: the distance between two windows of a series.
        minimum_input: how many of the T steps must be real; None for all. Of a series shorter than
            T, or at its beginning, the first step is repeated.

    Raises:
        DataError: a number is below 1, or there is not a single window.
    """

    def __init__(
        self,
        series: SeriesSet,
        input_chunk: int,
        horizon: int,
        within: TimeRange | None = None,
        stride: int = 1,
        minimum_input: int | None = None,
    ) -> None:
        minimum = input_chunk if minimum_input is None else minimum_input
        for name, value in (
            ("input_chunk", input_chunk),
            ("horizon", horizon),
            ("stride", stride),
            ("minimum_input", minimum),
        ):
            if value < 1:
                raise DataError(f"{name} is {value}: expected at least 1")
        if minimum > input_chunk:
            raise DataError(f"minimum_input is {minimum}: expected at most {input_chunk}")
        self.series, self.input_chunk, self.horizon, self.stride = (
            series,
            input_chunk,
            horizon,
            stride,
        )
        within = within or TimeRange.whole(series)
        self._first = np.maximum(within.start, series.offsets[:-1] + minimum)
        counts = np.maximum(0, (within.stop - horizon - self._first) // stride + 1)
        self._ends = np.cumsum(counts)
        if self._ends[-1] == 0:
            raise DataError(
                f"no window fits: {minimum} steps of input and {horizon} of horizon in series of "
                f"at most {series.lengths.max()} steps, of which at most {within.lengths.max()} "
                f"are to be forecast"
            )

    lengths = None  # all windows are as long

    def __len__(self) -> int:
        return int(self._ends[-1])

    @property
    def counts(self) -> np.ndarray:
        """How many windows each series has, int64 `(N,)`."""
        return np.diff(self._ends, prepend=0)

    def origins(self, indices: Sequence[int] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where windows stand.

        Returns:
            The numbers of their series and the rows of their first forecast steps, int64 `(B,)`.
        """
        indices = np.asarray(indices, dtype=np.int64)
        number = np.searchsorted(self._ends, indices, side="right")
        before = np.concatenate([[0], self._ends])[number]
        return number, self._first[number] + (indices - before) * self.stride

    def batch(
        self, indices: Sequence[int] | np.ndarray, targets: Sequence[str] | None = None
    ) -> WindowBatch:
        """Gather some windows.

        Args:
            indices: which windows, `(B,)`.
            targets: the names of the C targets to gather; None: all.
        """
        number, origin = self.origins(indices)
        series, columns = self.series, self.series.columns
        targets = columns.targets if targets is None else targets
        past = _rows(series, number, origin, self.input_chunk)
        ahead = origin[:, None] + np.arange(self.horizon)
        both = np.concatenate([past, ahead], axis=1)
        return WindowBatch(
            past=_gather(series, targets, past),
            observed=_observed(series, number, origin, self.input_chunk),
            past_covariates=_gather(series, columns.past, past),
            future_covariates=torch.from_numpy(series.known_ahead(number[:, None], both)),
            static_numbers=torch.from_numpy(series.static.numbers[number]),
            static_categories=torch.from_numpy(series.static.categories[number]),
            target=_gather(series, targets, ahead),
            series=torch.from_numpy(number),
        )


def latest_windows(
    series: SeriesSet, input_chunk: int, future: dict[str, np.ndarray], horizon: int
) -> WindowBatch:
    """The windows that end at the last step of each series: what a forecast starts from.

    Args:
        series: those to be forecast; one that is shorter than `input_chunk` repeats its first step.
        input_chunk: T.
        future: as `read_future` gives it: `(N, H)` for each column that is known ahead.
        horizon: H.

    Returns:
        N windows without targets.
    """
    number, origin = np.arange(len(series)), series.offsets[1:]
    past = _rows(series, number, origin, input_chunk)
    behind = torch.from_numpy(series.known_ahead(number[:, None], past))
    ahead = np.zeros((len(series), horizon, len(series.future_names)), dtype=np.float32)
    for position, name in enumerate(series.future_names):
        ahead[:, :, position] = future[name]
    return WindowBatch(
        past=_gather(series, series.columns.targets, past),
        observed=_observed(series, number, origin, input_chunk),
        past_covariates=_gather(series, series.columns.past, past),
        future_covariates=torch.cat([behind, torch.from_numpy(ahead)], dim=1),
        static_numbers=torch.from_numpy(series.static.numbers),
        static_categories=torch.from_numpy(series.static.categories),
        target=torch.zeros(len(series), 0, len(series.columns.targets)),
        series=torch.from_numpy(number),
    )


def _rows(series: SeriesSet, number: np.ndarray, origin: np.ndarray, steps: int) -> np.ndarray:
    """The rows of the steps before each origin, `(B, steps)`: none before the series begins."""
    rows = origin[:, None] + np.arange(-steps, 0)
    return np.maximum(rows, series.offsets[number][:, None])


def _observed(
    series: SeriesSet, number: np.ndarray, origin: np.ndarray, steps: int
) -> torch.Tensor:
    return torch.from_numpy(np.minimum(origin - series.offsets[number], steps))


def _gather(series: SeriesSet, names: Sequence[str], rows: np.ndarray) -> torch.Tensor:
    """Values of some columns at `(B, K)` rows: `(B, K, number of columns)`."""
    gathered = np.empty((*rows.shape, len(names)), dtype=np.float32)
    for position, name in enumerate(names):
        gathered[..., position] = series.values[name][rows]
    return torch.from_numpy(gathered)
