"""Forecast series of a data frame: intervals, cross-validation, a model on the disk.

Run it with ``python examples/forecast_series.py``; it makes its own data, two years of daily sales
in four shops, and takes a few seconds.
"""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from fastlstm import Forecaster, LSTMConfig, TrainingConfig

# A row for each series and time step. `unique_id`, `ds` and `y` are the usual names; others are
# given as `columns=SeriesColumns(...)`, which also names covariates.
generator = np.random.default_rng(0)
days = pd.date_range("2023-01-01", "2024-12-31")
week = np.where(days.day_of_week < 5, 1.0, 1.6)
year = 1 + 0.3 * np.sin(2 * np.pi * days.day_of_year / 365.25)
frame = pd.concat(
    pd.DataFrame({"unique_id": shop, "ds": days, "y": generator.poisson(level * week * year)})
    for shop, level in {"north": 20, "east": 35, "south": 60, "west": 90}.items()
)
last = frame["ds"] > "2024-12-24"

# A week ahead. What is read of a series is chosen from its frequency, and the best epoch by the end
# of each series; the defaults are larger than these.
forecaster = Forecaster(
    horizon=7, lstm=LSTMConfig(hidden_size=16), training=TrainingConfig(epochs=3)
)
forecaster.fit(frame[~last])
print("chosen:", forecaster.recipe_)

print("\nthe week that was held back, beside the same days of the week before:")
for name, value in forecaster.evaluate(frame).items():
    print(f"   {name:<14}{value:8.3f}")

print("\nforecasts with intervals, in the library of the frame:")
forecasts = forecaster.predict(frame, level=[80, 90])
print(forecasts.groupby("unique_id").head(2).to_string(index=False, float_format="%.1f"))

print("\ntrained on the past and measured on what followed, at three places:")
compared = forecaster.cross_validation(frame, windows=3)
error = (compared["LSTM"] - compared["y"]).abs()
print(error.groupby(compared["cutoff"]).mean().round(2).to_string())

with tempfile.TemporaryDirectory() as folder:
    forecaster.save(Path(folder) / "shops")
    loaded = Forecaster.load(Path(folder) / "shops")
    assert loaded.predict(frame).equals(forecaster.predict(frame))
    print("\nsaved, loaded, and the same forecasts")
