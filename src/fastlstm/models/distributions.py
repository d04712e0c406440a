"""Forecasts that are probability distributions, trained by their likelihood.

The likelihood is that of the data in its own units, whatever the window's are.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from fastlstm.models.constants import constants
from fastlstm.models.errors import ModelError
from fastlstm.models.outputs import Forecast, Output, check_levels
from fastlstm.nn.inputs import has_readable_values

LEAST_SPREAD = 1e-4
"""The least spread of a distribution, in the window's units: a likelihood has no upper bound."""

LEAST_DISPERSION = 1e-6
"""The least dispersion and relative mean of counts: about a Poisson distribution."""


class _LocationScaleOutput(Output):
    """A distribution that is shifted and stretched with the window."""

    def _losses(self, forecast: Forecast, target: Tensor, unit: Tensor) -> Tensor:
        z = (target - forecast.location) / forecast.scale
        return forecast.scale.log() - self._log_density(forecast.raw, z)

    def normalised_mean(self, raw: Tensor) -> Tensor:
        """The location."""
        return raw[..., 0]

    def quantile(self, forecast: Forecast, levels: Sequence[float]) -> Tensor:
        """As every output's."""
        check_levels(levels)
        at = self._standard_quantile(forecast.raw, levels)
        spread = self._spread(forecast.raw) * forecast.scale
        return self.mean(forecast).unsqueeze(-1) + spread.unsqueeze(-1) * at

    def sample(
        self, forecast: Forecast, count: int, generator: torch.Generator | None = None
    ) -> Tensor:
        """As every output's."""
        drawn = self._standard_sample(forecast.raw, count, generator)
        return self.mean(forecast) + self._spread(forecast.raw) * forecast.scale * drawn

    @staticmethod
    def _spread(raw: Tensor) -> Tensor:
        """The scale parameter in the window's units."""
        return F.softplus(raw[..., 1]) + LEAST_SPREAD

    def _log_density(self, raw: Tensor, z: Tensor) -> Tensor:
        raise NotImplementedError

    def _standard_quantile(self, raw: Tensor, levels: Sequence[float]) -> Tensor:
        """(…, len(levels)) for location 0 and scale 1."""
        raise NotImplementedError

    def _standard_sample(
        self, raw: Tensor, count: int, generator: torch.Generator | None
    ) -> Tensor:
        """(count, …) for location 0 and scale 1."""
        raise NotImplementedError


class NormalOutput(_LocationScaleOutput):
    """A normal distribution: its mean and, before a softplus, its standard deviation."""

    parameter_count = 2

    def _log_density(self, raw: Tensor, z: Tensor) -> Tensor:
        spread = self._spread(raw)
        error = (z - raw[..., 0]) / spread
        return -0.5 * error.square() - spread.log() - 0.5 * math.log(2 * math.pi)

    def _standard_quantile(self, raw: Tensor, levels: Sequence[float]) -> Tensor:
        return torch.special.ndtri(constants(levels, raw))

    def _standard_sample(
        self, raw: Tensor, count: int, generator: torch.Generator | None
    ) -> Tensor:
        return _standard_normal(raw, count, generator)


class StudentTOutput(_LocationScaleOutput):
    """Student's t-distribution: its mean and, before a softplus, its scale and degrees of freedom.

    These are above 2, so that there is a variance. Its heavy tails make it robust to outliers.
    """

    parameter_count = 3

    @staticmethod
    def degrees_of_freedom(raw: Tensor) -> Tensor:
        """(…) from (…, 3)."""
        return 2 + F.softplus(raw[..., 2])

    def _log_density(self, raw: Tensor, z: Tensor) -> Tensor:
        degrees, spread = self.degrees_of_freedom(raw), self._spread(raw)
        error = (z - raw[..., 0]) / spread
        constant = torch.lgamma((degrees + 1) / 2) - torch.lgamma(degrees / 2)
        tail = (degrees + 1) / 2 * torch.log1p(error.square() / degrees)
        return constant - 0.5 * (math.pi * degrees).log() - spread.log() - tail

    def _standard_quantile(self, raw: Tensor, levels: Sequence[float]) -> Tensor:
        from scipy import special  # only here: networks are used without it

        degrees = _as_float64(self.degrees_of_freedom(raw))[..., None]
        return _as_tensor_like(special.stdtrit(degrees, np.asarray(levels)), raw)

    def _standard_sample(
        self, raw: Tensor, count: int, generator: torch.Generator | None
    ) -> Tensor:
        half = self.degrees_of_freedom(raw) / 2
        gamma = _standard_gamma(half, count, generator)
        return _standard_normal(raw, count, generator) * (half / gamma).sqrt()


class NegativeBinomialOutput(Output):
    """Counts: a negative binomial distribution by its mean μ and dispersion α.

    The variance is μ + α μ². As the data is scaled by ν and not shifted, μ = ν softplus(raw_0) and
    α = softplus(raw_1) / √ν (Salinas et al. 2020). The likelihood is computed in float64, where it
    does not cancel for a small α.
    """

    parameter_count = 2

    @staticmethod
    def mean_and_dispersion(forecast: Forecast) -> tuple[Tensor, Tensor]:
        """μ and α, (B, H, C) each."""
        raw, scale = forecast.raw, forecast.scale
        mean = (F.softplus(raw[..., 0]) + LEAST_DISPERSION) * scale
        return mean, F.softplus(raw[..., 1]) / scale.sqrt() + LEAST_DISPERSION

    def _losses(self, forecast: Forecast, target: Tensor, unit: Tensor) -> Tensor:
        if target.is_cuda:
            there = (target >= 0).all()
            torch.ops.aten._assert_async.msg(there, "counts must not be negative")
        elif has_readable_values(target) and bool((target < 0).any()):
            raise ModelError(
                f"counts must not be negative, got {float(target[target < 0][0])}: "
                "use another output for this data"
            )
        mean, dispersion = (value.double() for value in self.mean_and_dispersion(forecast))
        y, total = target.double(), 1 / dispersion
        combinations = torch.lgamma(y + total) - torch.lgamma(total) - torch.lgamma(y + 1)
        product = dispersion * mean
        beyond = torch.log1p(product)
        losses = (total + y) * beyond - y * product.log() - combinations
        return losses.to(forecast.raw.dtype)

    def normalised_mean(self, raw: Tensor) -> Tensor:
        """μ in units of the window's scale."""
        return F.softplus(raw[..., 0]) + LEAST_DISPERSION

    def quantile(self, forecast: Forecast, levels: Sequence[float]) -> Tensor:
        """As every output's: the least counts that reach the levels."""
        from scipy import special  # only here: networks are used without it

        check_levels(levels)
        mean, dispersion = map(_as_float64, self.mean_and_dispersion(forecast))
        total = 1 / dispersion[..., None]
        success = 1 / (1 + dispersion * mean)[..., None]
        wanted = np.asarray(levels)
        counts = np.ceil(special.nbdtrik(wanted, total, success))
        # The inverse is rounded, and may have come to the count before or after.
        for candidate in (np.maximum(counts - 1, 0), counts):
            reached = special.betainc(total, candidate + 1, success) >= wanted
            counts = np.where(reached, np.minimum(counts, candidate), candidate + 1)
        return _as_tensor_like(counts, forecast.raw)

    def sample(
        self, forecast: Forecast, count: int, generator: torch.Generator | None = None
    ) -> Tensor:
        """As every output's."""
        mean, dispersion = self.mean_and_dispersion(forecast)
        gamma = _standard_gamma(1 / dispersion, count, generator)
        return torch.poisson(gamma * dispersion * mean, generator=generator)


def _standard_normal(raw: Tensor, count: int, generator: torch.Generator | None) -> Tensor:
    """(count, …) for raw numbers (…, P)."""
    shape = (count, *raw.shape[:-1])
    return torch.randn(shape, dtype=raw.dtype, device=raw.device, generator=generator)


def _standard_gamma(shape: Tensor, count: int, generator: torch.Generator | None) -> Tensor:
    """(count, …) from the gamma distributions of these shapes (…) and rate 1."""
    # `torch.distributions` draws from the same function, which it gives no generator.
    shapes = shape.expand(count, *shape.shape).contiguous()
    return torch._standard_gamma(shapes, generator=generator)  # type: ignore[reportPrivateUsage]


def _as_float64(value: Tensor) -> np.ndarray:
    return value.detach().double().cpu().numpy()


def _as_tensor_like(value: np.ndarray, like: Tensor) -> Tensor:
    return torch.from_numpy(np.asarray(value)).to(like)
