"""A forecaster that several processes train together, in a folder that is given."""

from pathlib import Path

from fastlstm.tasks import Forecaster
from forecasting_cases import noisy_end, small
from two_processes import write_fitted


def fit(folder: Path | None) -> Forecaster:
    """Train; dropout is random in each process."""
    return small(dropout=0.0).fit(noisy_end(), output=folder)


def run_all(folder: Path, rank: int) -> None:
    """Train, and write what this process ends with."""
    forecaster = fit(folder / "run")
    figures = forecaster.predict(level=[80])["LSTM-hi-80"].tolist()
    write_fitted(forecaster, figures, folder, "forecaster", rank)
