"""Columns on a common scale, by what the training part says about them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fastlstm.data.errors import DataError
from fastlstm.data.series import SeriesSet
from fastlstm.data.windows import TimeRange


@dataclass(frozen=True)
class Scaler:
    """The mean and the standard deviation of some columns: z = (x − mean) / scale.

    Args:
        mean: for each column.
        scale: for each column; 1 for one that is constant.
    """

    mean: Mapping[str, float]
    scale: Mapping[str, float]

    @classmethod
    def fit(cls, series: SeriesSet, within: TimeRange, columns: Sequence[str]) -> "Scaler":
        """Measure columns over all series, in float64 and with N in the denominator.

        Args:
            series: what is measured.
            within: the training part: never what is held out.
            columns: some of `series.values`.

        Raises:
            DataError: the range is empty, or there is no such column.
        """
        inside = np.zeros(int(series.offsets[-1]), dtype=bool)
        for start, stop in zip(within.start, within.stop, strict=True):
            inside[start:stop] = True
        if not inside.any():
            raise DataError("no steps to measure the scale on")
        mean, scale = {}, {}
        for name in columns:
            if name not in series.values:
                raise DataError(f"no column {name!r}: expected some of {', '.join(series.values)}")
            values = series.values[name][inside].astype(np.float64)
            mean[name] = float(values.mean())
            scale[name] = float(values.std()) or 1.0
        return cls(mean, scale)

    def transform(self, series: SeriesSet) -> SeriesSet:
        """The same series with its columns scaled; others are shared, not copied."""
        scaled = {
            name: ((series.values[name] - self.mean[name]) / self.scale[name]).astype(np.float32)
            for name in self.mean
        }
        return replace(series, values=series.values | scaled)

    def inverse(self, name: str, values: Any) -> Any:
        """Scaled values of one column as they were: an array or a tensor of any shape."""
        return values * self.scale[name] + self.mean[name]

    def to_mapping(self) -> dict[str, dict[str, float]]:
        """What `from_mapping` reads back: plain numbers for JSON."""
        return {"mean": dict(self.mean), "scale": dict(self.scale)}

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Mapping[str, float]]) -> "Scaler":
        """The scaler that `to_mapping` described.

        Raises:
            DataError: the mapping is none.
        """
        if set(mapping) != {"mean", "scale"} or set(mapping["mean"]) != set(mapping["scale"]):
            raise DataError("no scaler: expected `mean` and `scale` of the same columns")
        return cls(dict(mapping["mean"]), dict(mapping["scale"]))
