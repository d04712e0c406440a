"""``fastlstm.LSTMCell``: ``torch.nn.LSTMCell`` with the variants of a single step."""

from typing import Any

import torch
from torch import Tensor
from torch.fx import Proxy

from fastlstm.nn import functional, plain
from fastlstm.nn.exchange import scriptable
from fastlstm.nn.fx import as_leaf
from fastlstm.nn.initialization import add_switch_parameters, initialize, switch_shapes
from fastlstm.nn.parameters import LayerParameters
from fastlstm.nn.stack import States
from fastlstm.nn.switches import (
    Switches,
    check_change,
    check_flag,
    check_number,
    make_switches,
    switches_on,
)


class LSTMCell(torch.nn.LSTMCell):
    """One time step of a long short-term memory: a ``torch.nn.LSTMCell`` with more in it.

    The arguments up to ``dtype`` are those of ``torch.nn.LSTMCell``, as are the parameters, their
    initial values and the results. The keyword-only switches are described, with their sources,
    in ``LSTM``; what belongs to a whole sequence (one mask for all steps) or to a stack of layers
    is there alone.

    Args:
        input_size: ``I``.
        hidden_size: ``H``.
        bias: whether there are biases.
        device: where the parameters are.
        dtype: the parameters' floating-point dtype.
        peephole: gates see the cell. Parameter ``weight_peephole`` (3, H), or (2, H) if coupled.
        layer_norm: parameters ``norm_ih``, ``norm_hh``, ``norm_cell``, ``norm_cell_bias``.
        coupled_gates: i = 1 - f; the weights have the rows of f, g, o alone.
        zoneout: the rate for both states, or a pair (cell, hidden).
        cell_clip: c' is clipped to ± this.
        forget_bias: the initial b_f.

    Raises:
        TypeError, ValueError: an argument of the wrong type or out of its range.
    """

    # Off, in a cell that `fastlstm.replace` made of a `torch.nn.LSTMCell` as in one made here.
    peephole: bool = False
    layer_norm: bool = False
    coupled_gates: bool = False
    zoneout: tuple[float, float] = (0.0, 0.0)
    cell_clip: float | None = None
    forget_bias: float | None = None

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: torch.dtype | None = None,
        *,
        peephole: bool = False,
        layer_norm: bool = False,
        coupled_gates: bool = False,
        zoneout: float | tuple[float, float] = 0.0,
        cell_clip: float | None = None,
        forget_bias: float | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, device, dtype)
        switches = make_switches(coupled_gates=coupled_gates, zoneout=zoneout, cell_clip=cell_clip)
        self.__dict__.update(
            coupled_gates=switches.coupled_gates,
            zoneout=switches.zoneout,
            cell_clip=switches.cell_clip,
            peephole=check_flag("peephole", peephole),
            layer_norm=check_flag("layer_norm", layer_norm),
            forget_bias=check_number("forget_bias", forget_bias),
        )
        if self.forget_bias is not None and not bias:
            raise ValueError(f"forget_bias={forget_bias} sets a bias, but bias=False")
        add_switch_parameters(self, [""], device, dtype)

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, check_change(self, name, value))

    def reset_parameters(self) -> None:
        """Give every parameter a new initial value, the first as ``torch.nn.LSTMCell`` does."""
        initialize(self, dict(self.named_parameters()))

    @property
    def _switches(self) -> Switches:
        return Switches(
            coupled_gates=self.coupled_gates, zoneout=self.zoneout, cell_clip=self.cell_clip
        )

    def _is_plain(self) -> bool:
        """Whether a call is that of a ``torch.nn.LSTMCell``."""
        switched_on = (
            self.peephole
            or self.layer_norm
            or self.coupled_gates
            or self.cell_clip
            or self.zoneout != (0.0, 0.0)
        )
        return type(self).layer_parameters is LSTMCell.layer_parameters and not switched_on

    def layer_parameters(self) -> LayerParameters:
        """The parameters as ``fastlstm.lstm_cell`` takes them, read by name at each call."""
        names = ["weight_ih", "weight_hh"]
        names += ["bias_ih", "bias_hh"] if self.bias else []
        names += list(switch_shapes(self))
        return LayerParameters(**{name: getattr(self, name) for name in names})

    def forward(self, input: Tensor, hx: States | None = None) -> States:
        """Run one time step.

        Args:
            input: (B, I) or (I).
            hx: ``(h, c)``, (B, H) each, or (H) each without a batch; zeros if None.

        Returns:
            ``(h', c')``, shaped like ``hx``.

        Raises:
            RuntimeError: the input's features, or a size, device or dtype of ``hx``, do not fit.
            ValueError: the number of dimensions, or the input's dtype, do not fit.
            TypeError: an argument is of the wrong type.
        """
        if isinstance(input, Proxy):
            return as_leaf(self, input, hx)
        found = plain.run_cell(self, input, hx)
        if found is not None:
            return found
        switches = self._switches
        # Only zoneout differs in training: without it the cell does not ask.
        training = any(switches.zoneout) and self.training
        return functional.run_cell(input, hx, self.layer_parameters(), switches, training)

    def __prepare_scriptable__(self) -> torch.nn.LSTMCell:
        """Have ``torch.jit.script`` compile a ``torch.nn.LSTMCell`` with the same parameters."""
        return scriptable(self, LSTMCell.__base__)

    def extra_repr(self) -> str:
        """What ``torch.nn.LSTMCell`` shows, and the switches that are on."""
        return ", ".join([super().extra_repr(), *switches_on(self)])
