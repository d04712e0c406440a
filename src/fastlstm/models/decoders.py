"""From what an LSTM made of a window to raw numbers for each step of the horizon."""

import dataclasses

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fastlstm.models.lstm_config import LSTMConfig
from fastlstm.models.outputs import Output
from fastlstm.models.pooling import LastPooling

Encoded = tuple[Tensor, tuple[Tensor, Tensor]]
"""What an LSTM returns: its output (B, W, D) and final states."""


class DirectDecoder(nn.Module):
    """All steps at once, by a linear map of the last output.

    What is known of a future step enters through a small network that is one for all steps, from
    the last output and the step's covariates, and is added.

    Args:
        lstm: the encoder's configuration.
        horizon: ``H``.
        channels: ``C``.
        future_covariates: ``F``.
        static: the width of the static properties; the encoder has read them.
        dropout: the rate of dropout before the head.
        output: what the raw numbers mean.
    """

    def __init__(
        self,
        lstm: LSTMConfig,
        horizon: int,
        channels: int,
        future_covariates: int,
        static: int,
        dropout: float,
        output: Output,
    ) -> None:
        super().__init__()
        self.shape = (horizon, channels, output.parameter_count)
        width = lstm.output_size
        self.pooling = LastPooling(lstm.bidirectional)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, horizon * channels * output.parameter_count)
        self.future = None
        if future_covariates:
            self.future = FutureSteps(width, future_covariates, channels * output.parameter_count)

    def forward(
        self, encoded: Encoded, last: Tensor, future: Tensor, static: Tensor, skip: Tensor
    ) -> Tensor:
        """Raw numbers (B, H, C, P).

        Args:
            encoded: what the encoder returned.
            last: (B, C) the window's last values; not used.
            future: (B, H, F) covariates of the horizon.
            static: (B, S); not used.
            skip: (B, H, C), added to the centre of each forecast.
        """
        context = self.dropout(self.pooling(encoded[0]))
        raw = self.head(context).unflatten(-1, self.shape)
        if self.future is not None:
            raw = raw + self.future(context, future).unflatten(-1, self.shape[1:])
        return _add_to_centre(raw, skip)


class FutureSteps(nn.Module):
    """A network of one hidden layer over the context and what is known of each step.

    The context's share of the hidden layer is the same at all steps, and is computed once.

    Args:
        width: of the context, and of the hidden layer.
        covariates: ``F``, how many values are known of a step.
        output_size: ``O``.
    """

    def __init__(self, width: int, covariates: int, output_size: int) -> None:
        super().__init__()
        self.of_context = nn.Linear(width, width)
        self.of_step = nn.Linear(covariates, width, bias=False)
        self.head = nn.Linear(width, output_size)

    def forward(self, context: Tensor, steps: Tensor) -> Tensor:
        """(B, H, O) from a context (B, width) and covariates (B, H, F)."""
        hidden = self.of_context(context).unsqueeze(1) + self.of_step(steps)
        return self.head(torch.relu(hidden))


class AutoregressiveDecoder(nn.Module):
    """An LSTM that goes on from the encoder's state and reads its own mean at each step.

    It reads it in training too: what it will meet later is what it learns from. Masks that are one
    for a whole sequence (recurrent, weight and locked dropout) it leaves to the encoder, as it
    runs step by step.

    Args:
        lstm: the encoder's configuration; not bidirectional.
        horizon: ``H``.
        channels: ``C``.
        future_covariates: ``F``.
        static: ``S``, the width of the static properties.
        dropout: the rate of dropout before the head.
        output: what the raw numbers mean.
    """

    def __init__(
        self,
        lstm: LSTMConfig,
        horizon: int,
        channels: int,
        future_covariates: int,
        static: int,
        dropout: float,
        output: Output,
    ) -> None:
        super().__init__()
        self.output = output
        self.shape = (channels, output.parameter_count)
        self.horizon = horizon
        by_steps = dataclasses.replace(
            lstm, recurrent_dropout=0.0, weight_dropout=0.0, locked_dropout=0.0
        )
        self.lstm = by_steps.build(channels + future_covariates + static)
        self.dropout = dropout
        self.head = nn.Linear(lstm.output_size, channels * output.parameter_count)

    def forward(
        self, encoded: Encoded, last: Tensor, future: Tensor, static: Tensor, skip: Tensor
    ) -> Tensor:
        """Raw numbers (B, H, C, P).

        Args:
            encoded: what the encoder returned.
            last: (B, C) the window's last values, in its units: what the first step reads.
            future: (B, H, F) covariates of the horizon.
            static: (B, S).
            skip: (B, H, C), added to the centre of each forecast.
        """
        state, mean, steps = encoded[1], last, []
        for step in range(self.horizon):
            read = torch.cat((mean, future[:, step], static), dim=-1)
            hidden, state = self.lstm.step(read, state)
            hidden = F.dropout(hidden, self.dropout, self.training)
            raw = _add_to_centre(self.head(hidden).unflatten(-1, self.shape), skip[:, step])
            mean = self.output.normalised_mean(raw)
            steps.append(raw)
        return torch.stack(steps, dim=1)


def _add_to_centre(raw: Tensor, skip: Tensor) -> Tensor:
    """Add ``skip`` (…) to the first of the raw numbers (…, P)."""
    return torch.cat((raw[..., :1] + skip.unsqueeze(-1), raw[..., 1:]), dim=-1)
