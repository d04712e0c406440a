"""Two processes train a forecaster as one does."""

from pathlib import Path

import numpy as np

import forecasting_launched
from fastlstm.tasks import Forecaster
from two_processes import read_as_one, run_in_two


def test_two_processes_train_as_one(tmp_path: Path) -> None:
    run_in_two(forecasting_launched.run_all, tmp_path)
    alone = forecasting_launched.fit(None)
    found = read_as_one(alone, tmp_path, "forecaster")
    assert alone.network_.output.offsets[6] > 0
    np.testing.assert_allclose(found, alone.predict(level=[80])["LSTM-hi-80"], atol=1e-5)
    loaded = Forecaster.load(tmp_path / "run")
    assert loaded.predict(level=[80])["LSTM-hi-80"].tolist() == found
