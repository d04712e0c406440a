"""The benchmarks of the forecaster."""

from collections.abc import Callable, Sequence
from functools import cache

import pyarrow as pa

from benchmarks.quality.benchmark import Benchmark, Mark, difference, of, seeded
from fastlstm.data import ETT_COLUMNS, SeriesColumns, load_airline, load_ett
from fastlstm.tasks import Forecaster

HORIZONS = ("24", "168", "720")
MONTH = 30 * 24
"""Steps, as Zhou et al. 2021 count: 12 months of training, 4 of validation, 4 of test."""
AIRLINE_TEST = 24
_ett: Callable[[], pa.Table] = cache(load_ett)
_airline: Callable[[], pa.Table] = cache(load_airline)


def _of_ett(targets: Sequence[str]) -> Callable[[str, int], Forecaster]:
    def estimator(part: str, seed: int) -> Forecaster:
        columns = SeriesColumns(targets=tuple(targets))
        return seeded(Forecaster(int(part), columns, validation=4 * MONTH), seed)

    return estimator


def _train_ett(estimator: Forecaster, part: str) -> Callable[[], dict[str, float]]:
    table = _ett()
    estimator.fit(table.slice(0, 16 * MONTH))
    return lambda: estimator.evaluate(
        table.slice(0, 20 * MONTH), steps=4 * MONTH, standardised=True
    )


def _of_airline(part: str, seed: int) -> Forecaster:
    return seeded(Forecaster(AIRLINE_TEST), seed)


def _train_airline(estimator: Forecaster, part: str) -> Callable[[], dict[str, float]]:
    table = _airline()
    estimator.fit(table.slice(0, len(table) - AIRLINE_TEST))
    return lambda: estimator.evaluate(table)


def _below(measure: str, horizon: str, limit: float, published: str) -> Mark:
    return Mark(
        f"{measure.upper()}, horizon {horizon}",
        of(horizon, measure),
        limit,
        at_least=False,
        published=published,
    )


_best = "{} (the better of LSTMa and DeepAR, Zhou et al. 2021)"
_lstma = "{} (LSTMa, Zhou et al. 2021)"

FORECASTING = {
    "ett-ot": Benchmark(
        "ETTh1, oil temperature, z-scored",
        HORIZONS,
        (
            _below("mse", "24", 0.107, _best.format("0.107")),
            _below("mae", "24", 0.272, _best.format("0.272")),
            _below("mse", "168", 0.236, _best.format("0.236")),
            _below("mae", "168", 0.392, _best.format("0.392")),
            _below("mse", "720", 0.658, _best.format("0.658")),
            _below("mae", "720", 0.707, _best.format("0.707")),
        ),
        _of_ett(("OT",)),
        _train_ett,
    ),
    "ett-all": Benchmark(
        "ETTh1, all seven, z-scored",
        HORIZONS,
        (
            _below("mse", "24", 0.45, _lstma.format("0.650")),
            _below("mse", "168", 0.70, _lstma.format("1.212")),
            _below("mse", "720", 1.00, _lstma.format("1.960")),
        ),
        _of_ett(ETT_COLUMNS),
        _train_ett,
    ),
    "airline": Benchmark(
        f"Airline passengers, the last {AIRLINE_TEST} months",
        ("",),
        (
            Mark(
                "sMAPE less that of the seasonal naive forecast",
                difference(of("", "smape"), of("", "naive_smape")),
                0.0,
                at_least=False,
                digits=2,
            ),
        ),
        _of_airline,
        _train_airline,
    ),
}
