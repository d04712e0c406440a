"""Series that are quickly learned, for the tests of `Forecaster`."""

from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd

from fastlstm.models import LSTMConfig
from fastlstm.tasks import Forecaster
from fastlstm.training import TrainingConfig

SMALL = LSTMConfig(hidden_size=6)
SHORT = TrainingConfig(epochs=2, batch_size=128, learning_rate=1e-2, device="cpu")


def waves(series: int = 3, days: int = 60, seed: int = 0) -> pd.DataFrame:
    """A week's wave on levels of 10, 20, …, with noise, and covariates that say something."""
    generator = np.random.default_rng(seed)
    steps = np.arange(days)
    parts = []
    for number in range(series):
        wave = np.sin(2 * np.pi * steps / 7 + number)
        sale = generator.integers(0, 2, days)
        parts.append(
            pd.DataFrame(
                {
                    "unique_id": f"shop {number}",
                    "ds": pd.date_range("2024-01-01", periods=days),
                    "y": 10 * (number + 1) + wave + 0.1 * generator.normal(size=days),
                    "other": 5 + wave,
                    "weather": generator.normal(size=days),
                    "sale": sale,
                    "kind": "big" if number else "small",
                    "size": 1.5 * number,
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def noisy_end(noise: float = 1.0, steps: int = 20) -> pd.DataFrame:
    """Waves whose last steps have another noise than those before."""
    frame = waves()
    rows = frame.groupby("unique_id").cumcount(ascending=False) < steps
    added = noise * np.random.default_rng(1).normal(size=len(frame))
    return frame.assign(y=frame["y"].where(~rows, frame["y"] + added))


def small(horizon: int = 5, **arguments: Any) -> Forecaster:
    arguments.setdefault("lstm", SMALL)
    arguments.setdefault("training", SHORT)
    arguments.setdefault("input_chunk", 14)
    return Forecaster(horizon, **arguments)


def last_steps(frame: pd.DataFrame, steps: int) -> pd.DataFrame:
    return frame[frame.groupby("unique_id").cumcount(ascending=False) < steps]


def without_last(frame: pd.DataFrame, steps: int) -> pd.DataFrame:
    return frame[frame.groupby("unique_id").cumcount(ascending=False) >= steps]


def as_pandas(frame: Any) -> pd.DataFrame:
    """A frame of pandas, Polars or pyarrow."""
    return nw.from_native(frame, eager_only=True).to_pandas()
