"""The layer's switches as one value that can be written down."""

import dataclasses
import warnings
from typing import Any

from fastlstm.nn import LSTM
from fastlstm.nn.switches import check_flag


@dataclasses.dataclass(frozen=True)
class LSTMConfig:
    """Which LSTM a network is built around; each switch is described in ``fastlstm.LSTM``.

    The defaults are those of the layer, but for the forget gate: it begins open, so that the first
    steps are heard at the last (Jozefowicz et al. 2015).

    Args:
        hidden_size: the number of units of a layer in one direction.
        num_layers: how many layers lie on each other.
        bidirectional: whether each layer also reads from the last step to the first.
        dropout: the rate of dropout between layers.
        proj_size: the width that the hidden state is projected to; 0: no projection.
        peephole: gates see the cell.
        layer_norm: LN(W x), LN(R h), LN(c').
        coupled_gates: i = 1 - f.
        recurrent_dropout: the rate of a mask on h that is one for the whole sequence.
        weight_dropout: the rate of DropConnect on the recurrent weights.
        locked_dropout: the rate of a mask between layers that is one for all time steps.
        zoneout: the rate at which units keep their last value, or a pair (cell, hidden); always
            kept as a pair.
        cell_clip: the cell state is clipped to ± this; None: not at all.
        residual: a layer's input is added to its output.
        forget_bias: the initial bias of the forget gate; None: as in ``torch.nn.LSTM``.
        checkpoint_every: keep every k-th state alone for the backward pass; None: all.

    Raises:
        TypeError, ValueError: an argument that the layer refuses, in its words.
    """

    hidden_size: int = 128
    num_layers: int = 1
    bidirectional: bool = False
    dropout: float = 0.0
    proj_size: int = 0
    peephole: bool = False
    layer_norm: bool = False
    coupled_gates: bool = False
    recurrent_dropout: float = 0.0
    weight_dropout: float = 0.0
    locked_dropout: float = 0.0
    zoneout: float | tuple[float, float] = (0.0, 0.0)
    cell_clip: float | None = None
    residual: bool = False
    forget_bias: float | None = 1.0
    checkpoint_every: int | None = None

    def __post_init__(self) -> None:
        check_flag("bidirectional", self.bidirectional)
        check_flag("residual", self.residual)
        with warnings.catch_warnings():
            # A dropout that has no place is warned about where the layer is built.
            warnings.simplefilter("ignore", UserWarning)
            # Whether a residual fits depends on the input's width, which is not known here.
            layer = LSTM(1, device="meta", **{**self._arguments(), "residual": False})
        object.__setattr__(self, "zoneout", layer.zoneout)

    def _arguments(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    @property
    def output_size(self) -> int:
        """The width of the layer's output: that of all directions together."""
        return (self.proj_size or self.hidden_size) * (2 if self.bidirectional else 1)

    def build(self, input_size: int) -> LSTM:
        """A new layer over inputs (B, T, ``input_size``).

        Raises:
            ValueError: ``residual`` with one layer whose input has another width than its output.
        """
        return LSTM(input_size, batch_first=True, **self._arguments())
