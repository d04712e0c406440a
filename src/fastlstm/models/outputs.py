"""What the numbers that a forecasting head returns mean: their loss, mean, quantiles, samples.

A head returns ``P`` raw numbers for each value to forecast. They speak in the units of the window
that was read: a value y is there z = (y - location) / scale. Everything else speaks in the units of
the data. The first raw number is always that of the centre, without bounds.
"""

import abc
import itertools
import math
from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from fastlstm.models.constants import constants
from fastlstm.models.errors import ModelError, check_choice

PointLoss = Literal["mse", "mae", "huber"]


class Forecast(NamedTuple):
    """What a head returned, and the units in which it speaks."""

    raw: Tensor  # (B, H, C, P)
    location: Tensor  # (B, 1, C), of the window
    scale: Tensor  # (B, 1, C), of the window, above zero


class LossSum(NamedTuple):
    """A sum of losses, and how many there are: the mean is their quotient."""

    total: Tensor  # ()
    weight: Tensor  # ()


class Output(abc.ABC):
    """One meaning of a head's numbers.

    ``B`` is the batch, ``H`` the horizon, ``C`` the number of channels, ``P`` that of raw numbers.
    """

    parameter_count: int
    """``P``."""

    def loss(
        self,
        forecast: Forecast,
        target: Tensor,
        weight: Tensor | None = None,
        unit: Tensor | None = None,
    ) -> LossSum:
        """The sum of the losses of the values that are there.

        Args:
            forecast: a head's.
            target: (B, H, C) in the data's units; NaN is missing and counts for nothing.
            weight: of each value, broadcast to the target; None: 1.
            unit: what errors of point and quantile forecasts are measured in, broadcast to the
                target; None: the window's scale. A likelihood needs none.

        Returns:
            The weighted sum, and the sum of the weights of the values that are there.

        Raises:
            ModelError: the target has another shape than the forecast.
        """
        if target.shape != forecast.raw.shape[:-1]:
            raise ModelError(
                f"target must have the shape {list(forecast.raw.shape[:-1])}, (B, H, C), "
                f"got {list(target.shape)}"
            )
        observed = ~target.isnan()
        target = torch.where(observed, target, forecast.location)
        losses = self._losses(forecast, target, forecast.scale if unit is None else unit)
        weights = observed.to(losses.dtype)
        if weight is not None:
            weights = torch.where(observed, weight.to(losses.dtype), 0.0)
        total = (torch.where(observed, losses, 0.0) * weights).sum()
        return LossSum(total, weights.sum())

    @abc.abstractmethod
    def _losses(self, forecast: Forecast, target: Tensor, unit: Tensor) -> Tensor:
        """The loss of each value: (B, H, C)."""

    @abc.abstractmethod
    def normalised_mean(self, raw: Tensor) -> Tensor:
        """The mean in the window's units, (…) from (…, P): what a decoder reads of itself."""

    def mean(self, forecast: Forecast) -> Tensor:
        """The mean: (B, H, C)."""
        return forecast.location + forecast.scale * self.normalised_mean(forecast.raw)

    def centre(self, forecast: Forecast) -> Tensor:
        """The one number to name for each value, (B, H, C): the mean; of quantiles the median."""
        return self.mean(forecast)

    @abc.abstractmethod
    def quantile(self, forecast: Forecast, levels: Sequence[float]) -> Tensor:
        """The values that are not exceeded with these probabilities: (B, H, C, len(levels)).

        Args:
            forecast: a head's.
            levels: between 0 and 1.

        Raises:
            ModelError: a level out of its range, or the output has no quantiles.
        """

    @abc.abstractmethod
    def sample(
        self, forecast: Forecast, count: int, generator: torch.Generator | None = None
    ) -> Tensor:
        """Values drawn at random, each by itself: (count, B, H, C).

        Args:
            forecast: a head's.
            count: how many.
            generator: where random numbers come from; None: the global one.

        Raises:
            ModelError: the output has no distribution.
        """


class PointOutput(Output):
    """One number for each value, without a distribution.

    Args:
        loss: "mse", "mae" or "huber" (Huber 1964; quadratic up to an error of one unit).

    Raises:
        ModelError: no loss has that name.
    """

    parameter_count = 1

    def __init__(self, loss: PointLoss = "mse") -> None:
        check_choice("loss", loss, get_args(PointLoss))
        self.point_loss = loss

    def _losses(self, forecast: Forecast, target: Tensor, unit: Tensor) -> Tensor:
        ratio = forecast.scale / unit
        found = forecast.raw[..., 0] * ratio
        wanted = (target - forecast.location) / forecast.scale * ratio
        function = {"mse": F.mse_loss, "mae": F.l1_loss, "huber": F.huber_loss}[self.point_loss]
        return function(found, wanted, reduction="none")

    def normalised_mean(self, raw: Tensor) -> Tensor:
        """The number itself."""
        return raw[..., 0]

    def quantile(self, forecast: Forecast, levels: Sequence[float]) -> Tensor:
        """Refuse: one number has no quantiles."""
        raise ModelError("a point forecast has no quantiles: use another output")

    def sample(
        self, forecast: Forecast, count: int, generator: torch.Generator | None = None
    ) -> Tensor:
        """Refuse: one number has no distribution."""
        raise ModelError("a point forecast has no distribution to sample: use another output")


class QuantileOutput(Output):
    """Quantiles at fixed levels, which cannot cross; straight lines between them.

    The raw numbers are the quantile whose level is nearest to one half, and the distances between
    neighbours before a softplus. The loss is twice the pinball loss (Koenker & Bassett 1978),
    averaged over the levels: the absolute error where the one level is the median, and with many
    levels about the continuous ranked probability score (Gneiting & Raftery 2007).

    Args:
        levels: between 0 and 1, ascending.

    Attributes:
        offsets: by how much each quantile that is asked for or drawn from is moved, in the window's
            units; see `calibrate`. None: not at all. The loss, the mean and the centre know none.

    Raises:
        ModelError: no levels, a level out of its range, or levels that do not ascend.
    """

    offsets: tuple[float, ...] | None = None

    def __init__(self, levels: Sequence[float]) -> None:
        check_levels(levels)
        if list(levels) != sorted(set(levels)):
            raise ModelError(f"levels must ascend, got {list(levels)}")
        self.levels = tuple(float(level) for level in levels)
        self.parameter_count = len(self.levels)
        self._centre = min(range(len(levels)), key=lambda i: abs(self.levels[i] - 0.5))

    def calibrate(self, offsets: Sequence[float]) -> None:
        """Move the quantiles away from the median, which stays.

        Args:
            offsets: one for each level, in the window's units: at most 0 below one half, at least 0
                above it, and 0 at one half.

        Raises:
            ModelError: another number of offsets, or one of the wrong sign.
        """
        if len(offsets) != len(self.levels):
            raise ModelError(
                f"offsets must have one for each of {len(self.levels)} levels, got {len(offsets)}"
            )
        for level, offset in zip(self.levels, offsets, strict=True):
            if not math.isfinite(offset) or offset * (level - 0.5) < 0 or (level == 0.5 and offset):
                raise ModelError(
                    f"the offset of level {level} must lead away from the median, got {offset}"
                )
        self.offsets = tuple(float(offset) for offset in offsets)

    def values(self, raw: Tensor) -> Tensor:
        """The quantiles as learned in the window's units, ascending: (…, P) from (…, P)."""
        centre, steps = raw[..., :1], F.softplus(raw[..., 1:])
        below = steps[..., : self._centre].flip(-1).cumsum(-1).flip(-1)
        above = steps[..., self._centre :].cumsum(-1)
        return torch.cat((centre - below, centre, centre + above), dim=-1)

    def _calibrated(self, raw: Tensor) -> Tensor:
        """The quantiles with their offsets; one that would cross its inner neighbour meets it."""
        values = self.values(raw)
        if self.offsets is None:
            return values
        moved = values + constants(self.offsets, values)
        split = sum(level < 0.5 for level in self.levels)
        below, above = moved[..., :split], moved[..., split:]
        # Of the halves each moves away from the other: only within them can quantiles cross.
        if split:
            below = below.flip(-1).cummin(-1).values.flip(-1)
        if split < len(self.levels):
            above = above.cummax(-1).values
        return torch.cat((below, above), dim=-1)

    def _losses(self, forecast: Forecast, target: Tensor, unit: Tensor) -> Tensor:
        wanted = ((target - forecast.location) / forecast.scale).unsqueeze(-1)
        error = (wanted - self.values(forecast.raw)) * (forecast.scale / unit).unsqueeze(-1)
        levels = constants(self.levels, error)
        return 2 * torch.maximum(levels * error, (levels - 1) * error).mean(-1)

    def normalised_mean(self, raw: Tensor) -> Tensor:
        """The mean of the distribution that ends at the outermost quantiles."""
        edges = (0.0, *(sum(pair) / 2 for pair in itertools.pairwise(self.levels)), 1.0)
        shares = [high - low for low, high in itertools.pairwise(edges)]
        return (self.values(raw) * constants(shares, raw)).sum(-1)

    def centre(self, forecast: Forecast) -> Tensor:
        """The quantile whose level is nearest to one half: (B, H, C)."""
        return forecast.location + forecast.scale * forecast.raw[..., 0]

    def quantile(self, forecast: Forecast, levels: Sequence[float]) -> Tensor:
        """As every output's; a level beyond the outermost of the network's is refused."""
        check_levels(levels)
        for level in levels:
            if not self.levels[0] <= level <= self.levels[-1]:
                raise ModelError(
                    f"level {level} lies outside of the levels {self.levels[0]} to "
                    f"{self.levels[-1]} that the network knows"
                )
        values = self._calibrated(forecast.raw)
        at = constants(levels, values).expand(*values.shape[:-1], -1)
        return _in_data_units(forecast, self._interpolate(values, at))

    def sample(
        self, forecast: Forecast, count: int, generator: torch.Generator | None = None
    ) -> Tensor:
        """As every output's; nothing lies beyond the outermost quantiles."""
        values = self._calibrated(forecast.raw)
        shape = (*values.shape[:-1], count)
        at = torch.rand(shape, dtype=values.dtype, device=values.device, generator=generator)
        drawn = self._interpolate(values, at.clamp(self.levels[0], self.levels[-1]))
        return _in_data_units(forecast, drawn).movedim(-1, 0)

    def _interpolate(self, values: Tensor, at: Tensor) -> Tensor:
        """The quantiles at other levels, (…, N), between the known ones."""
        if len(self.levels) == 1:
            return values.expand_as(at)
        levels = constants(self.levels, values)
        high = torch.searchsorted(levels, at.contiguous()).clamp(1, len(self.levels) - 1)
        share = (at - levels[high - 1]) / (levels[high] - levels[high - 1])
        return torch.lerp(values.gather(-1, high - 1), values.gather(-1, high), share)


def check_levels(levels: Sequence[float]) -> None:
    """Raise a ``ModelError`` where there are no levels, or one that is not between 0 and 1."""
    if len(levels) == 0:
        raise ModelError("levels must name at least one level between 0 and 1, got none")
    for level in levels:
        if not 0 < level < 1:
            raise ModelError(f"a level must lie between 0 and 1, got {level}")


def _in_data_units(forecast: Forecast, values: Tensor) -> Tensor:
    """(B, H, C, N) in the data's units from the window's."""
    return forecast.location.unsqueeze(-1) + forecast.scale.unsqueeze(-1) * values
