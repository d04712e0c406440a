"""From a window of one or several series to the values that follow."""

import dataclasses
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from fastlstm.models.decoders import AutoregressiveDecoder, DirectDecoder
from fastlstm.models.distributions import NegativeBinomialOutput, NormalOutput, StudentTOutput
from fastlstm.models.errors import ModelError, check_choice, check_count, check_rate
from fastlstm.models.lstm_config import LSTMConfig
from fastlstm.models.outputs import Forecast, Output, PointLoss, PointOutput, QuantileOutput
from fastlstm.models.standardise import Standardise
from fastlstm.models.static import StaticEncoder
from fastlstm.models.windows import Normalization, window_units

OutputKind = Literal["point", "quantile", "normal", "student_t", "negative_binomial"]
DecoderKind = Literal["direct", "autoregressive"]

LEVELS = (0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975)
"""The ends of the intervals that hold 50, 80, 90 and 95 % of the values, and the median."""


@dataclasses.dataclass(frozen=True)
class OutputConfig:
    """What is forecast for each value.

    Args:
        kind: "point", "quantile", "normal", "student_t" or "negative_binomial".
        point_loss: of a point forecast: "mse", "mae" or "huber".
        levels: of quantiles, ascending.

    Raises:
        ModelError: an argument is out of its range.
    """

    kind: OutputKind = "point"
    point_loss: PointLoss = "mse"
    levels: tuple[float, ...] = LEVELS

    def __post_init__(self) -> None:
        check_choice("kind", self.kind, get_args(OutputKind))
        object.__setattr__(self, "levels", QuantileOutput(self.levels).levels)
        PointOutput(self.point_loss)

    def build(self) -> Output:
        """The output."""
        if self.kind == "point":
            return PointOutput(self.point_loss)
        if self.kind == "quantile":
            return QuantileOutput(self.levels)
        if self.kind == "normal":
            return NormalOutput()
        return StudentTOutput() if self.kind == "student_t" else NegativeBinomialOutput()


@dataclasses.dataclass(frozen=True)
class ForecastNetworkConfig:
    """What a ``ForecastNetwork`` is made of.

    Args:
        window: ``W``, how many steps are read.
        horizon: ``H``, how many steps are forecast.
        channels: ``C``, how many series are read and forecast together.
        past_covariates: how many further values are known for the steps of the window.
        future_covariates: how many further values are known over the window and the horizon.
        static_numeric: how many numbers belong to a series as a whole.
        static_categories: how many categories each of its categorical properties has.
        segment: how many steps the LSTM reads at once; a divisor of the window (Lin et al. 2023).
            A long window becomes a short sequence, which is faster and easier to learn from.
        lstm: the layers.
        decoder: "direct", all steps at once, or "autoregressive", an LSTM that reads its own mean.
        normalization: the units of a window, "none", "standard", "last" or "scale".
        linear_skip: whether a linear map from the window to the horizon is added to the centre of
            the forecast, the same for all channels (Zeng et al. 2023). It begins at zero.
        joint: whether all channels go through the LSTM together; else each goes by itself, through
            the same weights.
        dropout: the rate of dropout before the head.
        output: what is forecast for each value.

    Raises:
        ModelError: an argument is out of its range, or two do not go together.
    """

    window: int
    horizon: int
    channels: int = 1
    past_covariates: int = 0
    future_covariates: int = 0
    static_numeric: int = 0
    static_categories: tuple[int, ...] = ()
    segment: int = 1
    lstm: LSTMConfig = dataclasses.field(default_factory=LSTMConfig)
    decoder: DecoderKind = "direct"
    normalization: Normalization = "standard"
    linear_skip: bool = True
    joint: bool = True
    dropout: float = 0.0
    output: OutputConfig = dataclasses.field(default_factory=OutputConfig)

    def __post_init__(self) -> None:
        for name in ("window", "horizon", "channels", "segment"):
            check_count(name, getattr(self, name))
        if self.window % self.segment:
            raise ModelError(
                f"segment must divide the window of {self.window} steps, got {self.segment}"
            )
        for name in ("past_covariates", "future_covariates", "static_numeric"):
            check_count(name, getattr(self, name), least=0)
        object.__setattr__(self, "static_categories", tuple(self.static_categories))
        for number, count in enumerate(self.static_categories):
            check_count(f"static_categories[{number}]", count)
        check_choice("decoder", self.decoder, get_args(DecoderKind))
        check_choice("normalization", self.normalization, get_args(Normalization))
        check_rate("dropout", self.dropout)
        if self.decoder == "autoregressive" and self.lstm.bidirectional:
            raise ModelError(
                "an autoregressive decoder goes on from the state of the last step, which a "
                "bidirectional LSTM does not have: set bidirectional=False or decoder='direct'"
            )
        if self.output.kind == "negative_binomial" and self.normalization not in ("none", "scale"):
            raise ModelError(
                "counts can be scaled but not shifted: a negative binomial output needs the "
                f"normalization 'scale' or 'none', got {self.normalization!r}"
            )


class ForecastNetwork(nn.Module):
    """Forecast the next values of one or several series.

    Every window is brought to its own units and the forecast back to the data's (``windows.py``).
    At each step the LSTM reads the values, a mark for each that is missing, the covariates and the
    static properties. ``network.output`` knows the loss, the mean, quantiles and samples of a
    forecast. Covariates are standardised with statistics that are saved with the weights:
    ``network.standardise_past``, ``.standardise_future`` and ``.static.standardise`` each take
    ``set_statistics(mean, std)``.

    Args:
        config: what it is made of; ``ForecastNetwork(network.config)`` is the same network again.
    """

    def __init__(self, config: ForecastNetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.output = config.output.build()
        self.standardise_past = Standardise(config.past_covariates)
        self.standardise_future = Standardise(config.future_covariates)
        self.static = StaticEncoder(config.static_numeric, config.static_categories)
        channels = config.channels if config.joint else 1
        covariates = config.past_covariates + config.future_covariates
        step_size = 2 * channels + covariates
        self.lstm = config.lstm.build(config.segment * step_size + self.static.output_size)
        make = DirectDecoder if config.decoder == "direct" else AutoregressiveDecoder
        self.decoder = make(
            config.lstm,
            config.horizon,
            channels,
            config.future_covariates,
            self.static.output_size,
            config.dropout,
            self.output,
        )
        self.skip = nn.Linear(config.window, config.horizon) if config.linear_skip else None
        if self.skip is not None:
            nn.init.zeros_(self.skip.weight)
            nn.init.zeros_(self.skip.bias)

    def forward(
        self,
        past: Tensor,
        past_covariates: Tensor | None = None,
        future_covariates: Tensor | None = None,
        static_numeric: Tensor | None = None,
        static_categories: Tensor | None = None,
    ) -> Forecast:
        """Forecast the steps after the window.

        A value that is missing, NaN, is read as the window's location and marked; a covariate that
        is missing is read as its mean.

        Args:
            past: (B, W, C) the window's values in the data's units, of a floating-point dtype;
                where the network is not ``joint``, some of the channels will do.
            past_covariates: (B, W, P), where the network has any.
            future_covariates: (B, W + H, F), where the network has any.
            static_numeric: (B, S), where the network has any.
            static_categories: (B, K) integers, where the network has any.

        Returns:
            A ``Forecast``: raw numbers (B, H, C, P), and the window's units (B, 1, C), all in the
            dtype of ``past``; ``network.output`` makes numbers of it that mean something.

        Raises:
            ModelError: an input of another shape, one that is missing, or one too many.
        """
        self._check(past, past_covariates, future_covariates, static_numeric, static_categories)
        config = self.config
        location, scale = window_units(config.normalization, past)
        missing = past.isnan()
        # Filled first: what is not a number must not even be multiplied by zero.
        values = torch.where(missing, location, past)
        values = ((values - location) / scale).to(self.standardise_past.mean.dtype)
        static = self.static(static_numeric, static_categories, past)
        covered = self._covariates(past, past_covariates, future_covariates)
        if not config.joint:
            values, missing = _channels_as_rows(values), _channels_as_rows(missing)
            static, covered = (x.repeat_interleave(past.shape[2], 0) for x in (static, covered))
        in_window = covered[:, : config.window]
        steps = torch.cat((values, missing.to(values.dtype), in_window), dim=-1)
        segments = steps.reshape(steps.shape[0], config.window // config.segment, -1)
        of_series = static.unsqueeze(1).expand(-1, segments.shape[1], -1)
        encoded = self.lstm(torch.cat((segments, of_series), dim=-1))
        future = covered[:, config.window :, config.past_covariates :]
        skip = values.new_zeros(values.shape[0], config.horizon, values.shape[2])
        if self.skip is not None:
            skip = self.skip(values.mT).mT
        raw = self.decoder(encoded, values[:, -1], future, static, skip)
        if not config.joint:
            raw = raw.reshape(*past.shape[::2], config.horizon, -1).transpose(1, 2)
        return Forecast(raw.to(past.dtype), location, scale)

    def _covariates(self, past: Tensor, of_past: Tensor | None, future: Tensor | None) -> Tensor:
        """The standardised covariates (B, W + H, P + F); those of the past are zero from W on."""
        rows, config = past.shape[0], self.config
        steps = config.window + config.horizon
        parts = []
        if of_past is not None:
            known = _without_missing(self.standardise_past(of_past))
            parts.append(nn.functional.pad(known, (0, 0, 0, config.horizon)))
        if future is not None:
            parts.append(_without_missing(self.standardise_future(future)))
        if not parts:
            return self.standardise_past.mean.new_zeros(rows, steps, 0)
        return torch.cat(parts, dim=-1)

    def _check(
        self,
        past: Tensor,
        past_covariates: Tensor | None,
        future_covariates: Tensor | None,
        static_numeric: Tensor | None,
        static_categories: Tensor | None,
    ) -> None:
        config, rows = self.config, past.shape[0]
        if not past.is_floating_point():
            raise ModelError(f"past must be of a floating-point dtype, got {past.dtype}")
        covered = config.window + config.horizon
        categories = len(config.static_categories)
        channels = config.channels
        if not config.joint and past.dim() == 3:
            channels = min(channels, max(1, past.shape[2]))
        _check_input("past", past, (rows, config.window, channels))
        given = {
            "past_covariates": (past_covariates, (rows, config.window, config.past_covariates)),
            "future_covariates": (future_covariates, (rows, covered, config.future_covariates)),
            "static_numeric": (static_numeric, (rows, config.static_numeric)),
            "static_categories": (static_categories, (rows, categories)),
        }
        for name, (value, shape) in given.items():
            _check_input(name, value, shape)


def _check_input(name: str, value: Tensor | None, shape: tuple[int, ...]) -> None:
    if shape[-1] == 0 and value is not None:
        raise ModelError(f"the network has no {name}, got the shape {list(value.shape)}")
    if shape[-1] and value is None:
        raise ModelError(f"the network reads {name} of the shape {list(shape)}, got none")
    if value is not None and value.shape != shape:
        raise ModelError(f"{name} must have the shape {list(shape)}, got {list(value.shape)}")


def _channels_as_rows(x: Tensor) -> Tensor:
    """(B·C, W, 1) from (B, W, C)."""
    return x.transpose(1, 2).reshape(-1, x.shape[1], 1)


def _without_missing(x: Tensor) -> Tensor:
    """Standardised features with their mean, zero, where they are missing."""
    return torch.where(x.isnan(), 0.0, x)
