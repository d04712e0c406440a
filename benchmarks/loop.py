"""The equations of every switch in a Python loop, for TorchScript: what users write without us.

It draws its masks as the layer does, in the same order, so that both can be held to one result.
"""

import warnings
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fastlstm import LSTM, LayerParameters


class LoopLayer(nn.Module):
    """One layer. What is None is not compiled, so a loop holds only the lines that it needs."""

    coupled_gates: Final[bool]
    recurrent_dropout: Final[float]
    weight_dropout: Final[float]
    zoneout_cell: Final[float]
    zoneout_hidden: Final[float]
    cell_clip: Final[float]
    residual: Final[bool]

    def __init__(self, layer: LSTM, parameters: LayerParameters) -> None:
        super().__init__()
        self.coupled_gates = layer.coupled_gates
        self.recurrent_dropout = layer.recurrent_dropout
        self.weight_dropout = layer.weight_dropout
        self.zoneout_cell, self.zoneout_hidden = layer.zoneout
        self.cell_clip = layer.cell_clip or 0.0
        self.residual = layer.residual
        for name, value in parameters._asdict().items():
            self.register_parameter(
                name, None if value is None else nn.Parameter(value.detach().clone())
            )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        weight_hh = self.weight_hh
        if self.weight_dropout > 0.0:
            weight_hh = F.dropout(weight_hh, self.weight_dropout, self.training)
        hidden_size = weight_hh.shape[0] // (3 if self.coupled_gates else 4)
        h = x.new_zeros(x.shape[1], weight_hh.shape[1])
        c = x.new_zeros(x.shape[1], hidden_size)
        mask = torch.ones_like(h)
        if self.recurrent_dropout > 0.0:
            mask = F.dropout(mask, self.recurrent_dropout, self.training)
        keep_cell = torch.empty(0)
        keep_hidden = torch.empty(0)
        if self.training:
            if self.zoneout_cell > 0.0:
                keep_cell = torch.rand([x.shape[0], c.shape[0], c.shape[1]]) < self.zoneout_cell
            if self.zoneout_hidden > 0.0:
                keep_hidden = torch.rand([x.shape[0], h.shape[0], h.shape[1]]) < self.zoneout_hidden

        gates_x = F.linear(x, self.weight_ih)
        if self.norm_ih is not None:
            gates_x = F.layer_norm(gates_x, [gates_x.shape[-1]], self.norm_ih)
        gates_x = gates_x + self.bias_ih + self.bias_hh
        outputs: list[Tensor] = []
        for t in range(x.shape[0]):
            seen_h = h
            if self.recurrent_dropout > 0.0:
                seen_h = h * mask
            recurrent = F.linear(seen_h, weight_hh)
            if self.norm_hh is not None:
                recurrent = F.layer_norm(recurrent, [recurrent.shape[-1]], self.norm_hh)
            z = (gates_x[t] + recurrent).split(hidden_size, dim=-1)
            z_f, z_g, z_o = z[-3], z[-2], z[-1]
            if self.weight_peephole is not None:
                z_f = z_f + self.weight_peephole[-2] * c
            f = torch.sigmoid(z_f)
            g = torch.tanh(z_g)
            if self.coupled_gates:
                i = 1 - f
            else:
                z_i = z[0]
                if self.weight_peephole is not None:
                    z_i = z_i + self.weight_peephole[0] * c
                i = torch.sigmoid(z_i)
            new_c = f * c + i * g
            if self.cell_clip > 0.0:
                new_c = new_c.clamp(-self.cell_clip, self.cell_clip)
            if self.weight_peephole is not None:
                z_o = z_o + self.weight_peephole[-1] * new_c
            seen_c = new_c
            if self.norm_cell is not None:
                seen_c = F.layer_norm(new_c, [hidden_size], self.norm_cell, self.norm_cell_bias)
            new_h = torch.sigmoid(z_o) * torch.tanh(seen_c)
            if self.weight_hr is not None:
                new_h = F.linear(new_h, self.weight_hr)
            if self.zoneout_cell > 0.0:
                if self.training:
                    new_c = torch.where(keep_cell[t], c, new_c)
                else:
                    new_c = c * self.zoneout_cell + new_c * (1 - self.zoneout_cell)
            if self.zoneout_hidden > 0.0:
                if self.training:
                    new_h = torch.where(keep_hidden[t], h, new_h)
                else:
                    new_h = h * self.zoneout_hidden + new_h * (1 - self.zoneout_hidden)
            h, c = new_h, new_c
            outputs.append(h)
        output = torch.stack(outputs)
        if self.residual:
            output = output + x
        return output, h, c


class Loop(nn.Module):
    """A stack of layers in one direction."""

    locked_dropout: Final[float]

    def __init__(self, layer: LSTM) -> None:
        super().__init__()
        self.locked_dropout = layer.locked_dropout
        self.layers = nn.ModuleList(
            LoopLayer(layer, parameters) for parameters in layer.layer_parameters()
        )

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        final_h: list[Tensor] = []
        final_c: list[Tensor] = []
        for index, layer in enumerate(self.layers):
            if index > 0 and self.locked_dropout > 0.0:
                x = x * F.dropout(torch.ones_like(x[:1]), self.locked_dropout, self.training)
            x, h, c = layer(x)
            final_h.append(h)
            final_c.append(c)
        return x, (torch.stack(final_h), torch.stack(final_c))


def scripted_loop(layer: LSTM) -> nn.Module:
    """The loop with a copy of a layer's parameters, compiled by TorchScript."""
    with warnings.catch_warnings():
        # PyTorch deprecates TorchScript; it is still what makes such a loop fastest without a
        # compiler on the user's machine.
        warnings.simplefilter("ignore")
        return torch.jit.script(Loop(layer))
