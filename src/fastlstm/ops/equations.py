"""The equations of the LSTM and of its variants, in plain PyTorch: the ground truth.

Every kernel of this library is tested against this file, and this file against
``torch.nn.LSTM`` wherever that can express the case. It is written to be held against the
papers, and differentiable to any order in either mode.

    i = σ(W_i x + R_i h + b_i)      f = σ(W_f x + R_f h + b_f)      g = tanh(W_g x + R_g h + b_g)
    c' = f ⊙ c + i ⊙ g              o = σ(W_o x + R_o h + b_o)      h' = o ⊙ tanh(c')

Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000. The variants:

- projection, h' = W_hr (o ⊙ tanh c'), and clipping of c': Sak et al. 2014;
- peepholes, i and f see c, o sees c': Gers & Schmidhuber 2000; Graves 2013, eq. 7-11;
- layer norm: Ba et al. 2016, eq. 20-22. LN runs over all gates together, as it does there;
- coupled gates, i = 1 - f: Greff et al. 2015;
- recurrent dropout, one mask on h: Gal & Ghahramani 2016;
- zoneout of c and of h: Krueger et al. 2017, eq. 3-5. As there, h' is made from the new c before
  zoneout touches it.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from fastlstm.ops.arguments import ScanArguments, ScanOutputs, chunk_count


class State(NamedTuple):
    """The recurrent state of one layer: ``hidden`` is (B, R), ``cell`` is (B, H)."""

    hidden: Tensor
    cell: Tensor


def scan(arguments: ScanArguments) -> ScanOutputs:
    """Run one layer in one direction over all time steps."""
    kept_dtype = arguments.input.dtype
    arguments = in_working_dtype(arguments)
    steps = arguments.input.shape[0]
    live = live_steps(arguments)
    gates_x = input_part(arguments, live)

    state = State(arguments.h_0, arguments.c_0)
    outputs: list[Tensor] = [state.hidden] * steps
    gates: list[Tensor] = [gates_x] * steps
    cells: list[Tensor] = [state.cell] * steps
    cells_before: list[Tensor] = [state.cell] * steps
    for t in reversed(range(steps)) if arguments.reverse else range(steps):
        cells_before[t] = state.cell
        new, gates[t] = step(arguments, t, gates_x[t], at_reset(arguments, t, state))
        # 16-bit layers hand on h in 16 bits, as they hand it out; c stays in float32.
        new = State(new.hidden.to(kept_dtype).to(new.hidden.dtype), new.cell)
        if live is None:
            outputs[t], cells[t] = new
            state = new
        else:
            alive = live[t].unsqueeze(-1)
            outputs[t] = torch.where(alive, new.hidden, 0.0)
            cells[t] = torch.where(alive, new.cell, 0.0)
            gates[t] = torch.where(alive, gates[t], 0.0)
            state = State(
                torch.where(alive, new.hidden, state.hidden),
                torch.where(alive, new.cell, state.cell),
            )

    every = arguments.save_every
    if every > 1:
        cells = [
            cells_before[min(start + every, steps) - 1 if arguments.reverse else start]
            for start in range(0, steps, every)
        ]
    empty = gates_x.new_empty(0)
    return ScanOutputs(
        torch.stack(outputs).to(kept_dtype),
        state.hidden.to(kept_dtype, copy=True),
        state.cell.to(kept_dtype, copy=True),
        torch.stack(gates).to(kept_dtype) if every == 1 else empty.to(kept_dtype),
        torch.stack(cells) if every else empty.clone(),
    )


def step(arguments: ScanArguments, t: int, gates_x: Tensor, state: State) -> tuple[State, Tensor]:
    """One time step: the new state, and the gates (B, GH) after their non-linearity."""
    h, c = state
    recurrent = F.linear(
        h if arguments.recurrent_mask is None else h * arguments.recurrent_mask,
        arguments.weight_hh,
    )
    if arguments.norm_hh is not None:
        recurrent = layer_norm(recurrent, arguments.norm_hh, None, arguments.norm_epsilon)
    z = (gates_x + recurrent).chunk(arguments.gate_count, dim=-1)
    z_f, z_g, z_o = z[-3:]
    if arguments.weight_peephole is not None:
        z_f = z_f + arguments.weight_peephole[-2] * c

    f = torch.sigmoid(z_f)
    g = torch.tanh(z_g)
    if arguments.coupled_gates:
        i = 1 - f
    else:
        z_i = z[0] if arguments.weight_peephole is None else z[0] + arguments.weight_peephole[0] * c
        i = torch.sigmoid(z_i)

    new_c = f * c + i * g
    if arguments.cell_clip:
        new_c = new_c.clamp(-arguments.cell_clip, arguments.cell_clip)
    if arguments.weight_peephole is not None:
        z_o = z_o + arguments.weight_peephole[-1] * new_c
    o = torch.sigmoid(z_o)

    seen = new_c
    if arguments.norm_cell is not None:
        seen = layer_norm(
            new_c, arguments.norm_cell, arguments.norm_cell_bias, arguments.norm_epsilon
        )
    new_h = o * torch.tanh(seen)
    if arguments.weight_hr is not None:
        new_h = F.linear(new_h, arguments.weight_hr)

    new = State(
        zoneout(h, new_h, arguments.zoneout_hidden_mask, arguments.zoneout_hidden, t),
        zoneout(c, new_c, arguments.zoneout_cell_mask, arguments.zoneout_cell, t),
    )
    return new, torch.cat((f, g, o) if arguments.coupled_gates else (i, f, g, o), dim=-1)


def input_part(arguments: ScanArguments, live: Tensor | None) -> Tensor:
    """``W x + b`` of all time steps at once, (T, B, GH), normalised where layer norm is on.

    What stands in the padding is replaced, not multiplied, by zero: it may be NaN.
    """
    x = arguments.input
    if live is not None:
        x = torch.where(live.unsqueeze(-1), x, 0.0)
    gates_x = F.linear(x, arguments.weight_ih)
    if arguments.norm_ih is not None:
        gates_x = layer_norm(gates_x, arguments.norm_ih, None, arguments.norm_epsilon)
    for bias in (arguments.bias_ih, arguments.bias_hh):
        if bias is not None:
            gates_x = gates_x + bias
    return gates_x


def at_reset(arguments: ScanArguments, t: int, state: State) -> State:
    """The state that step ``t`` starts from: the given one, or where it is reset, that."""
    if arguments.reset is None:
        return state
    reset = arguments.reset[t].unsqueeze(-1)
    return State(
        torch.where(reset, 0.0 if arguments.reset_h is None else arguments.reset_h, state.hidden),
        torch.where(reset, 0.0 if arguments.reset_c is None else arguments.reset_c, state.cell),
    )


def zoneout(old: Tensor, new: Tensor, mask: Tensor | None, rate: float, t: int) -> Tensor:
    """Keep ``old`` where step ``t``'s mask is set; without a mask mix, as it does on average."""
    if mask is not None:
        return torch.where(mask[t], old, new)
    return old * rate + new * (1 - rate) if rate else new


def layer_norm(x: Tensor, gain: Tensor, bias: Tensor | None, epsilon: float) -> Tensor:
    """LN over the last dimension, all of it together."""
    return F.layer_norm(x, (x.shape[-1],), gain, bias, epsilon)


def live_steps(arguments: ScanArguments) -> Tensor | None:
    """(T, B) bool, true where a step is real; None where all are."""
    if arguments.lengths is None:
        return None
    return live_at(arguments.input.shape[0], arguments.lengths)


def live_at(steps: int, lengths: Tensor) -> Tensor:
    """(T, B) bool, true where step t is one of the first ``lengths[b]``."""
    return torch.arange(steps, device=lengths.device).unsqueeze(-1) < lengths


def in_working_dtype(arguments: ScanArguments) -> ScanArguments:
    """The same arguments with every 16-bit float tensor in float32."""
    dtype = arguments.state_dtype
    return arguments if dtype == arguments.input.dtype else in_dtype(arguments, dtype)


def in_dtype(arguments: ScanArguments, dtype: torch.dtype) -> ScanArguments:
    """The same arguments with every floating-point tensor in this dtype."""
    return arguments._replace(
        **{
            name: value.to(dtype)
            for name, value in arguments._asdict().items()
            if isinstance(value, Tensor) and value.is_floating_point()
        }
    )


def saved_shapes(arguments: ScanArguments) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The shapes of ``gates`` and of ``cells`` for this ``save_every``."""
    steps, rows, _ = arguments.input.shape
    hidden = arguments.hidden_size
    if arguments.save_every == 0:
        return (0,), (0,)
    if arguments.save_every == 1:
        return (steps, rows, arguments.gate_count * hidden), (steps, rows, hidden)
    return (0,), (chunk_count(steps, arguments.save_every), rows, hidden)
