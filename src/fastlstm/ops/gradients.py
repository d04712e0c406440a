"""The derivatives of the equations by hand: the arithmetic of the backward pass.

The derivatives are those of `equations.py`, line by line, and tested against its automatic
derivatives. A name ``d_x`` is the gradient of the loss with respect to ``x``; ``z`` is what goes
into a gate's non-linearity, ``seen`` is the cell state as the output sees it (after layer norm)
and ``emitted`` is ``o ⊙ tanh(seen)``, the hidden state before its projection.

The recurrence runs over all steps once and collects what each step contributes; the gradients of
the parameters are large products and sums over those, after it.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from fastlstm.ops import equations
from fastlstm.ops.arguments import Cotangents, ScanArguments

Gradients = dict[str, Tensor]
"""A gradient for each differentiable field that was given."""


class Saved(NamedTuple):
    """The states before each step (before its reset) and the gates of each step."""

    hidden_before: Tensor  # (T, B, R)
    cell_before: Tensor  # (T, B, H)
    gates: Tensor  # (T, B, GH)


class Forward(NamedTuple):
    """What the forward pass knew at each step, again, from what was saved."""

    h: Tensor  # the state a step starts from, after its reset
    c: Tensor
    i: Tensor
    f: Tensor
    g: Tensor
    o: Tensor
    unclipped: Tensor  # c' before clipping
    new_c: Tensor  # c'
    tanh_seen: Tensor
    recurrent_input: Tensor  # h under its dropout mask
    recurrent: Tensor  # R h where layer norm needs it; without elements where there is none


def _forward_again(arguments: ScanArguments, saved: Saved) -> Forward:
    h, c = saved.hidden_before, saved.cell_before
    if arguments.reset is not None:
        reset = arguments.reset.unsqueeze(-1)
        h = torch.where(reset, 0.0 if arguments.reset_h is None else arguments.reset_h, h)
        c = torch.where(reset, 0.0 if arguments.reset_c is None else arguments.reset_c, c)
    gates = saved.gates.chunk(arguments.gate_count, dim=-1)
    f, g, o = gates[-3:]
    i = 1 - f if arguments.coupled_gates else gates[0]
    unclipped = f * c + i * g
    clip = arguments.cell_clip
    new_c = unclipped.clamp(-clip, clip) if clip else unclipped
    seen = new_c
    if arguments.norm_cell is not None:
        seen = equations.layer_norm(
            new_c, arguments.norm_cell, arguments.norm_cell_bias, arguments.norm_epsilon
        )
    recurrent_input = h if arguments.recurrent_mask is None else h * arguments.recurrent_mask
    recurrent = h.new_empty(*h.shape[:2], 0)
    if arguments.norm_hh is not None:
        recurrent = F.linear(recurrent_input, arguments.weight_hh)
    return Forward(h, c, i, f, g, o, unclipped, new_c, torch.tanh(seen), recurrent_input, recurrent)


def backward_through(
    cotangents: Cotangents, arguments: ScanArguments, saved: Saved, groups: int
) -> Gradients:
    """The gradients where every gate and state is at hand.

    Each parameter's has a leading dimension: one for each of the ``groups`` of rows.
    """
    forward = _forward_again(arguments, saved)
    live = equations.live_steps(arguments)
    steps = arguments.input.shape[0]

    d_z = torch.zeros_like(saved.gates)
    d_recurrent = torch.zeros_like(d_z) if arguments.norm_hh is not None else d_z
    d_seen = torch.zeros_like(forward.c)
    d_new_h = torch.zeros_like(forward.h)
    d_reset_h = torch.zeros_like(arguments.h_0)
    d_reset_c = torch.zeros_like(arguments.c_0)
    d_h = torch.zeros_like(arguments.h_0) if cotangents.h_n is None else cotangents.h_n
    d_c = torch.zeros_like(arguments.c_0) if cotangents.c_n is None else cotangents.c_n

    for t in range(steps) if arguments.reverse else reversed(range(steps)):
        now = Forward(*(value[t] for value in forward))
        total_d_h = d_h if cotangents.output is None else d_h + cotangents.output[t]
        total_d_c = d_c if cotangents.cells is None else d_c + cotangents.cells[t]
        d_gates = (None,) * arguments.gate_count
        if cotangents.gates is not None:
            d_gates = cotangents.gates[t].chunk(arguments.gate_count, dim=-1)

        back = _step_backward(arguments, now, t, total_d_h, total_d_c, d_gates)
        alive = None if live is None else live[t].unsqueeze(-1)
        d_z[t] = _where_alive(alive, back.d_z)
        if arguments.norm_hh is not None:
            d_recurrent[t] = _where_alive(alive, back.d_recurrent)
        d_seen[t] = _where_alive(alive, back.d_seen)
        d_new_h[t] = _where_alive(alive, back.d_new_h)
        d_before_h, d_before_c = back.d_h, back.d_c
        if arguments.reset is not None:
            reset = arguments.reset[t].unsqueeze(-1)
            if alive is not None:
                reset = reset & alive
            d_reset_h = d_reset_h + torch.where(reset, d_before_h, 0.0)
            d_reset_c = d_reset_c + torch.where(reset, d_before_c, 0.0)
            d_before_h = torch.where(reset, 0.0, d_before_h)
            d_before_c = torch.where(reset, 0.0, d_before_c)
        d_h = d_before_h if alive is None else torch.where(alive, d_before_h, d_h)
        d_c = d_before_c if alive is None else torch.where(alive, d_before_c, d_c)

    contributions = Contributions(d_z, d_recurrent, d_seen, d_new_h)
    if live is not None:  # what stands past a row's end may be NaN, and 0 · NaN is not 0
        alive = live.unsqueeze(-1)
        forward = Forward(*(torch.where(alive, value, 0.0) for value in forward))
    gradients = _parameter_gradients(arguments, forward, contributions, groups)
    gradients.update(_input_gradients(arguments, d_z, live, groups))
    gradients.update(h_0=d_h, c_0=d_c)
    if arguments.reset_h is not None:
        gradients.update(reset_h=d_reset_h, reset_c=d_reset_c)
    return gradients


def _where_alive(alive: Tensor | None, value: Tensor) -> Tensor:
    return value if alive is None else torch.where(alive, value, 0.0)


class StepGradients(NamedTuple):
    """The gradients that one step of the backward pass finds."""

    d_z: Tensor  # (B, GH)
    d_recurrent: Tensor  # (B, GH): of R h, before its layer norm
    d_seen: Tensor  # (B, H)
    d_new_h: Tensor  # (B, R): of the hidden state before zoneout
    d_h: Tensor  # (B, R): of the state the step starts from
    d_c: Tensor  # (B, H)


def _step_backward(
    arguments: ScanArguments,
    now: Forward,
    t: int,
    d_h: Tensor,
    d_c: Tensor,
    d_gates: tuple[Tensor | None, ...],
) -> StepGradients:
    d_new_h, d_old_h = _zoneout_backward(
        d_h, arguments.zoneout_hidden_mask, arguments.zoneout_hidden, t
    )
    d_new_c, d_old_c = _zoneout_backward(
        d_c, arguments.zoneout_cell_mask, arguments.zoneout_cell, t
    )

    d_emitted = d_new_h
    if arguments.weight_hr is not None:
        d_emitted = d_new_h @ arguments.weight_hr
    d_o = _plus(d_emitted * now.tanh_seen, d_gates[-1])
    d_z_o = d_o * now.o * (1 - now.o)
    d_seen = d_emitted * now.o * (1 - now.tanh_seen**2)
    if arguments.norm_cell is None:
        d_new_c = d_new_c + d_seen
    else:
        d_new_c = d_new_c + _layer_norm_backward(
            d_seen, now.new_c, arguments.norm_cell, arguments.norm_epsilon
        )
    if arguments.weight_peephole is not None:
        d_new_c = d_new_c + d_z_o * arguments.weight_peephole[-1]
    if arguments.cell_clip:
        d_new_c = torch.where(now.unclipped.abs() <= arguments.cell_clip, d_new_c, 0.0)

    d_i = d_new_c * now.g
    d_f = _plus(d_new_c * now.c, d_gates[-3])
    d_g = _plus(d_new_c * now.i, d_gates[-2])
    d_old_c = d_old_c + d_new_c * now.f
    if arguments.coupled_gates:
        d_f = d_f - d_i
    d_z_f = d_f * now.f * (1 - now.f)
    d_z_g = d_g * (1 - now.g**2)
    d_z = (d_z_f, d_z_g, d_z_o)
    if arguments.weight_peephole is not None:
        d_old_c = d_old_c + d_z_f * arguments.weight_peephole[-2]
    if not arguments.coupled_gates:
        d_z_i = _plus(d_i, d_gates[0]) * now.i * (1 - now.i)
        d_z = (d_z_i, *d_z)
        if arguments.weight_peephole is not None:
            d_old_c = d_old_c + d_z_i * arguments.weight_peephole[0]

    d_z = torch.cat(d_z, dim=-1)
    d_recurrent = d_z
    if arguments.norm_hh is not None:
        d_recurrent = _layer_norm_backward(
            d_z, now.recurrent, arguments.norm_hh, arguments.norm_epsilon
        )
    d_recurrent_input = d_recurrent @ arguments.weight_hh
    if arguments.recurrent_mask is not None:
        d_recurrent_input = d_recurrent_input * arguments.recurrent_mask
    return StepGradients(d_z, d_recurrent, d_seen, d_new_h, d_old_h + d_recurrent_input, d_old_c)


def _plus(value: Tensor, other: Tensor | None) -> Tensor:
    return value if other is None else value + other


def _zoneout_backward(d: Tensor, mask: Tensor | None, rate: float, t: int) -> tuple[Tensor, Tensor]:
    """The gradients of the new and of the old value."""
    if mask is not None:
        return torch.where(mask[t], 0.0, d), torch.where(mask[t], d, 0.0)
    return d * (1 - rate), d * rate


def _layer_norm_backward(d: Tensor, x: Tensor, gain: Tensor, epsilon: float) -> Tensor:
    """The gradient of ``x`` where ``d`` is that of LN(x)."""
    normalized, inverse_deviation = _normalized(x, epsilon)
    d = d * gain
    along = (d * normalized).mean(dim=-1, keepdim=True)
    return inverse_deviation * (d - d.mean(dim=-1, keepdim=True) - normalized * along)


def _normalized(x: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """``x`` with mean 0 and variance 1 in its last dimension, and one over its deviation."""
    centred = x - x.mean(dim=-1, keepdim=True)
    inverse_deviation = (centred.square().mean(dim=-1, keepdim=True) + epsilon).rsqrt()
    return centred * inverse_deviation, inverse_deviation


class Contributions(NamedTuple):
    """What each step contributes to the parameters' gradients; zero past a row's end."""

    d_z: Tensor  # (T, B, GH)
    d_recurrent: Tensor  # (T, B, GH)
    d_seen: Tensor  # (T, B, H)
    d_new_h: Tensor  # (T, B, R)


def _parameter_gradients(
    arguments: ScanArguments, forward: Forward, d: Contributions, groups: int
) -> Gradients:
    epsilon = arguments.norm_epsilon
    gradients = {"weight_hh": product_by_group(d.d_recurrent, forward.recurrent_input, groups)}
    for name in ("bias_ih", "bias_hh"):
        if getattr(arguments, name) is not None:  # the same numbers, each in memory of its own
            gradients[name] = sum_by_group(d.d_z, groups)
    if arguments.weight_hr is not None:
        gradients["weight_hr"] = product_by_group(d.d_new_h, forward.o * forward.tanh_seen, groups)
    if arguments.weight_peephole is not None:
        d_z = d.d_z.chunk(arguments.gate_count, dim=-1)
        d_p = [d_z[-3] * forward.c, d_z[-1] * forward.new_c]
        if not arguments.coupled_gates:
            d_p.insert(0, d_z[0] * forward.c)
        gradients["weight_peephole"] = torch.stack([sum_by_group(p, groups) for p in d_p], dim=1)
    if arguments.norm_hh is not None:
        normalized, _ = _normalized(forward.recurrent, epsilon)
        gradients["norm_hh"] = sum_by_group(d.d_z * normalized, groups)
    if arguments.norm_cell is not None:
        normalized, _ = _normalized(forward.new_c, epsilon)
        gradients["norm_cell"] = sum_by_group(d.d_seen * normalized, groups)
    if arguments.norm_cell_bias is not None:
        gradients["norm_cell_bias"] = sum_by_group(d.d_seen, groups)
    return gradients


def _input_gradients(
    arguments: ScanArguments, d_z: Tensor, live: Tensor | None, groups: int
) -> Gradients:
    x = _where_alive(None if live is None else live.unsqueeze(-1), arguments.input)
    gradients = {}
    if arguments.norm_ih is not None:
        product = F.linear(x, arguments.weight_ih)
        normalized, _ = _normalized(product, arguments.norm_epsilon)
        gradients["norm_ih"] = sum_by_group(d_z * normalized, groups)
        d_z = _layer_norm_backward(d_z, product, arguments.norm_ih, arguments.norm_epsilon)
    gradients["weight_ih"] = product_by_group(d_z, x, groups)
    gradients["input"] = d_z @ arguments.weight_ih
    return gradients


def product_by_group(d: Tensor, x: Tensor, groups: int) -> Tensor:
    """``Σ d xᵀ`` over the steps and the rows of each group: (groups, M, N)."""
    return torch.bmm(_rows_of_groups(d, groups).transpose(1, 2), _rows_of_groups(x, groups))


def sum_by_group(d: Tensor, groups: int) -> Tensor:
    """``Σ d`` over the steps and the rows of each group: (groups, M)."""
    return _rows_of_groups(d, groups).sum(dim=1)


def _rows_of_groups(x: Tensor, groups: int) -> Tensor:
    """(T, groups · b, M) → (groups, T · b, M)."""
    steps, rows, width = x.shape
    by_group = x.reshape(steps, groups, rows // groups, width).transpose(0, 1)
    return by_group.reshape(groups, steps * (rows // groups), width)
