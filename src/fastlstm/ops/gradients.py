"""The derivatives of the equations by hand: one step back, and the loop over all steps.

The derivatives are those of `equations.py`, line by line, and tested against its automatic
derivatives. A name ``d_x`` is the gradient of the loss with respect to ``x``; ``z`` is what goes
into a gate's non-linearity, ``seen`` is the cell state as the output sees it (after layer norm)
and ``emitted`` is ``o ⊙ tanh(seen)``, the hidden state before its projection.

The recurrence runs over all steps once and collects what each step contributes; the gradients of
the parameters are large products and sums over those, after it, in `totals.py`.
"""

from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from fastlstm.ops import equations, sums
from fastlstm.ops.arguments import Cotangents, ScanArguments, ScanOutputs
from fastlstm.ops.real_steps import RealSteps, Rows
from fastlstm.ops.sums import ColumnDots, LayerNormTotals, Product, layer_norm_backward

Gradients = dict[str, Tensor]
"""A gradient for each differentiable field that was given."""


class Saved(NamedTuple):
    """What the scan returned with ``save_every=1``, in the dtype of the state."""

    output: Tensor  # (T, B, R)
    gates: Tensor  # (T, B, GH)
    cells: Tensor  # (T, B, H)


class Forward:
    """What the forward pass knew at each real step, again: each thing is made when asked for.

    Each is (N, ·), as `RealSteps` has it.
    """

    def __init__(
        self,
        arguments: ScanArguments,
        saved: Saved,
        product: Product,
        real_steps: type[RealSteps] = RealSteps,
    ) -> None:
        self._arguments = arguments
        self._product = product
        self.saved = saved
        self.real = real_steps(arguments)

    @cached_property
    def _gates(self) -> tuple[Tensor, ...]:
        return self.saved.gates.chunk(self._arguments.gate_count, dim=-1)

    @cached_property
    def f(self) -> Tensor:
        """The forget gate."""
        return self.real.of(self._gates[-3])

    @cached_property
    def g(self) -> Tensor:
        """The candidate."""
        return self.real.of(self._gates[-2])

    @cached_property
    def o(self) -> Tensor:
        """The output gate."""
        return self.real.of(self._gates[-1])

    @cached_property
    def i(self) -> Tensor:
        """The input gate."""
        return 1 - self.f if self._arguments.coupled_gates else self.real.of(self._gates[0])

    @cached_property
    def h(self) -> Tensor:
        """The hidden state a step starts from, after its reset."""
        before = self.real.before(self.saved.output, self._arguments.h_0)
        return self._after_reset(before, self._arguments.reset_h)

    @cached_property
    def c(self) -> Tensor:
        """The cell state a step starts from, after its reset."""
        before = self.real.before(self.saved.cells, self._arguments.c_0)
        return self._after_reset(before, self._arguments.reset_c)

    @cached_property
    def unclipped(self) -> Tensor:
        """C' before clipping."""
        return self.f * self.c + self.i * self.g

    @cached_property
    def new_c(self) -> Tensor:
        """C'."""
        a = self._arguments
        if a.zoneout_cell_mask is None and not a.zoneout_cell:
            return self.real.of(self.saved.cells)
        return self.unclipped.clamp(-a.cell_clip, a.cell_clip) if a.cell_clip else self.unclipped

    @cached_property
    def tanh_seen(self) -> Tensor:
        """What the output gate lets out."""
        a = self._arguments
        if a.norm_cell is None:
            return torch.tanh(self.new_c)
        return torch.tanh(
            equations.layer_norm(self.new_c, a.norm_cell, a.norm_cell_bias, a.norm_epsilon)
        )

    @cached_property
    def recurrent_input(self) -> Tensor:
        """The hidden state as R sees it, under its dropout mask."""
        mask = self._arguments.recurrent_mask
        return self.h if mask is None else self.h * self.real.of_each_row(mask)

    @cached_property
    def recurrent(self) -> Tensor:
        """``R h``."""
        return sums.times(self.recurrent_input, self._arguments.weight_hh.t(), self._product)

    def _after_reset(self, before: Tensor, reset_state: Tensor | None) -> Tensor:
        if self._arguments.reset is None:
            return before
        reset = self.real.of(self._arguments.reset).unsqueeze(-1)
        state = 0.0 if reset_state is None else self.real.of_each_row(reset_state)
        return torch.where(reset, state, before)


class Contributions(NamedTuple):
    """What each real step contributes to the parameters' gradients: (N, ·), see `RealSteps`."""

    d_z: Tensor  # (N, GH)
    d_recurrent: Tensor  # (N, GH)
    d_seen: Tensor | None  # (N, H); may be None without layer norm
    d_new_h: Tensor | None  # (N, R); may be None without a projection


class Kernels(NamedTuple):
    """The parts of a backward pass that a back end may bring itself."""

    # The scan again, where not all was saved.
    scan: Callable[[ScanArguments], ScanOutputs]
    # The recurrence; with it the gradients of h_0, c_0, reset_h and reset_c.
    loop: Callable[
        [Cotangents, ScanArguments, Saved, Forward], tuple[Contributions, tuple[Tensor, ...]]
    ]
    product: Product
    column_dots: ColumnDots
    norm_totals: LayerNormTotals
    real_steps: type[RealSteps] = RealSteps


def loop(
    cotangents: Cotangents, arguments: ScanArguments, saved: Saved, forward: Forward
) -> tuple[Contributions, tuple[Tensor, ...]]:
    """The recurrence of the backward pass, one step after another."""
    steps, count = arguments.input.shape[0], forward.real.count
    d_z = saved.gates.new_empty(count, saved.gates.shape[-1])
    d_recurrent = torch.empty_like(d_z) if arguments.norm_hh is not None else d_z
    d_seen = saved.cells.new_empty(count, saved.cells.shape[-1])
    d_new_h = saved.output.new_empty(count, saved.output.shape[-1])
    d_reset_h = torch.zeros_like(arguments.h_0)
    d_reset_c = torch.zeros_like(arguments.c_0)
    d_h = torch.zeros_like(arguments.h_0) if cotangents.h_n is None else cotangents.h_n.clone()
    d_c = torch.zeros_like(arguments.c_0) if cotangents.c_n is None else cotangents.c_n.clone()

    for t in range(steps) if arguments.reverse else reversed(range(steps)):
        here, rows = forward.real.at(t)
        total_d_h, total_d_c = d_h[rows], d_c[rows]
        if cotangents.output is not None:
            total_d_h = total_d_h + cotangents.output[t, rows]
        if cotangents.cells is not None:
            total_d_c = total_d_c + cotangents.cells[t, rows]
        d_gates = (None,) * arguments.gate_count
        if cotangents.gates is not None:
            d_gates = cotangents.gates[t, rows].chunk(arguments.gate_count, dim=-1)

        back = _step_backward(arguments, forward, t, total_d_h, total_d_c, d_gates)
        d_z[here] = back.d_z
        d_recurrent[here] = back.d_recurrent
        d_seen[here] = back.d_seen
        d_new_h[here] = back.d_new_h
        d_before_h, d_before_c = back.d_h, back.d_c
        if arguments.reset is not None:
            reset = arguments.reset[t, rows].unsqueeze(-1)
            d_reset_h[rows] += torch.where(reset, d_before_h, 0.0)
            d_reset_c[rows] += torch.where(reset, d_before_c, 0.0)
            d_before_h = torch.where(reset, 0.0, d_before_h)
            d_before_c = torch.where(reset, 0.0, d_before_c)
        d_h[rows], d_c[rows] = d_before_h, d_before_c

    contributions = Contributions(d_z, d_recurrent, d_seen, d_new_h)
    return contributions, (d_h, d_c, d_reset_h, d_reset_c)


REFERENCE_KERNELS = Kernels(equations.scan, loop, sums.product, sums.column_dots, sums.norm_totals)


class StepGradients(NamedTuple):
    """The gradients that one step of the backward pass finds, for the b rows that go so far."""

    d_z: Tensor  # (b, GH)
    d_recurrent: Tensor  # (b, GH): of R h, before its layer norm
    d_seen: Tensor  # (b, H)
    d_new_h: Tensor  # (b, R): of the hidden state before zoneout
    d_h: Tensor  # (b, R): of the state the step starts from
    d_c: Tensor  # (b, H)


def _step_backward(
    arguments: ScanArguments,
    forward: Forward,
    t: int,
    d_h: Tensor,
    d_c: Tensor,
    d_gates: tuple[Tensor | None, ...],
) -> StepGradients:
    here, rows = forward.real.at(t)
    d_new_h, d_old_h = _zoneout_backward(
        d_h, arguments.zoneout_hidden_mask, arguments.zoneout_hidden, t, rows
    )
    d_new_c, d_old_c = _zoneout_backward(
        d_c, arguments.zoneout_cell_mask, arguments.zoneout_cell, t, rows
    )

    d_emitted = d_new_h
    if arguments.weight_hr is not None:
        d_emitted = d_new_h @ arguments.weight_hr
    d_o = _plus(d_emitted * forward.tanh_seen[here], d_gates[-1])
    d_z_o = d_o * forward.o[here] * (1 - forward.o[here])
    d_seen = d_emitted * forward.o[here] * (1 - forward.tanh_seen[here] ** 2)
    if arguments.norm_cell is None:
        d_new_c = d_new_c + d_seen
    else:
        d_new_c = d_new_c + layer_norm_backward(
            d_seen, forward.new_c[here], arguments.norm_cell, arguments.norm_epsilon
        )
    if arguments.weight_peephole is not None:
        d_new_c = d_new_c + d_z_o * arguments.weight_peephole[-1]
    if arguments.cell_clip:
        d_new_c = torch.where(forward.unclipped[here].abs() <= arguments.cell_clip, d_new_c, 0.0)

    d_i = d_new_c * forward.g[here]
    d_f = _plus(d_new_c * forward.c[here], d_gates[-3])
    d_g = _plus(d_new_c * forward.i[here], d_gates[-2])
    d_old_c = d_old_c + d_new_c * forward.f[here]
    if arguments.coupled_gates:
        d_f = d_f - d_i
    d_z_f = d_f * forward.f[here] * (1 - forward.f[here])
    d_z_g = d_g * (1 - forward.g[here] ** 2)
    d_z = (d_z_f, d_z_g, d_z_o)
    if arguments.weight_peephole is not None:
        d_old_c = d_old_c + d_z_f * arguments.weight_peephole[-2]
    if not arguments.coupled_gates:
        d_z_i = _plus(d_i, d_gates[0]) * forward.i[here] * (1 - forward.i[here])
        d_z = (d_z_i, *d_z)
        if arguments.weight_peephole is not None:
            d_old_c = d_old_c + d_z_i * arguments.weight_peephole[0]

    d_z = torch.cat(d_z, dim=-1)
    d_recurrent = d_z
    if arguments.norm_hh is not None:
        d_recurrent = layer_norm_backward(
            d_z, forward.recurrent[here], arguments.norm_hh, arguments.norm_epsilon
        )
    d_recurrent_input = d_recurrent @ arguments.weight_hh
    if arguments.recurrent_mask is not None:
        d_recurrent_input = d_recurrent_input * arguments.recurrent_mask[rows]
    return StepGradients(d_z, d_recurrent, d_seen, d_new_h, d_old_h + d_recurrent_input, d_old_c)


def _plus(value: Tensor, other: Tensor | None) -> Tensor:
    return value if other is None else value + other


def _zoneout_backward(
    d: Tensor, mask: Tensor | None, rate: float, t: int, rows: Rows
) -> tuple[Tensor, Tensor]:
    """The gradients of the new and of the old value."""
    if mask is not None:
        kept = mask[t, rows]
        return torch.where(kept, 0.0, d), torch.where(kept, d, 0.0)
    return d * (1 - rate), d * rate
