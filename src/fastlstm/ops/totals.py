"""The gradients of what all steps share, from what each step contributes: products and sums.

Rows are those of `RealSteps`: (N, ·).
"""

from collections.abc import Iterator, Set

import torch
from torch import Tensor

from fastlstm.ops.arguments import ScanArguments
from fastlstm.ops.gradients import Contributions, Forward, Gradients, Kernels
from fastlstm.ops.real_steps import RealSteps
from fastlstm.ops.sums import Product, times


def parameter_gradients(
    arguments: ScanArguments,
    forward: Forward,
    d: Contributions,
    needed: Set[str],
    groups: int,
    kernels: Kernels,
) -> Gradients:
    """Those of the parameters that the recurrence reads; each has a leading dimension, groups."""
    real, gradients = forward.real, {}
    if "weight_hh" in needed:
        gradients["weight_hh"] = _hidden_product(arguments, forward, d, groups, kernels.product)
    if d.d_new_h is not None and "weight_hr" in needed:
        emitted = forward.o * forward.tanh_seen
        gradients["weight_hr"] = _product_by_group(
            d.d_new_h, emitted, real, groups, kernels.product
        )
    if "weight_peephole" in needed:
        gradients["weight_peephole"] = _peephole_gradient(arguments, forward, d, groups, kernels)
    if "norm_hh" in needed:
        d_rows, x = (by_group(value, real, groups) for value in (d.d_z, forward.recurrent))
        totals = kernels.norm_totals(d_rows, x, None, arguments.norm_epsilon)
        gradients["norm_hh"] = totals.d_gain
    if d.d_seen is not None and needed & {"norm_cell", "norm_cell_bias"}:
        d_rows, x = (by_group(value, real, groups) for value in (d.d_seen, forward.new_c))
        totals = kernels.norm_totals(d_rows, x, None, arguments.norm_epsilon)
        gradients["norm_cell"], gradients["norm_cell_bias"] = totals.d_gain, totals.d_bias
    return gradients


def input_gradients(
    arguments: ScanArguments,
    d_z: Tensor,
    real: RealSteps,
    needed: Set[str],
    groups: int,
    kernels: Kernels,
) -> Gradients:
    """Those of the input, and of the parameters that join it on its way to the gates."""
    x = real.of(arguments.input).contiguous()
    biases = [name for name in ("bias_ih", "bias_hh") if name in needed]
    gradients = {}
    d_bias = None
    if arguments.norm_ih is not None and needed & {"input", "weight_ih", "norm_ih"}:
        gates_x = times(x, arguments.weight_ih.t(), kernels.product)
        totals = kernels.norm_totals(
            by_group(d_z, real, groups),
            by_group(gates_x, real, groups),
            arguments.norm_ih if needed & {"input", "weight_ih"} else None,
            arguments.norm_epsilon,
        )
        gradients["norm_ih"], d_bias = totals.d_gain, totals.d_bias
        if totals.d_x is not None:
            d_z = _rows_of_groups(totals.d_x, real, arguments.input.shape[0])
    elif biases and (arguments.norm_ih is not None or "weight_ih" not in needed):
        d_bias = by_group(d_z, real, groups).sum(dim=1)
    if "weight_ih" in needed:
        sums = None
        if biases and d_bias is None:
            sums = d_z.new_empty(groups, d_z.shape[-1], dtype=arguments.state_dtype)
        gradients["weight_ih"] = _product_by_group(d_z, x, real, groups, kernels.product, sums)
        d_bias = d_bias if sums is None else sums
    if "input" in needed:
        gradients["input"] = real.padded(times(d_z, arguments.weight_ih, kernels.product))
    if biases and d_bias is not None:  # the same numbers, each in memory of its own
        gradients.update(zip(biases, (d_bias, d_bias.clone()), strict=False))
    return gradients


def _hidden_product(
    arguments: ScanArguments, forward: Forward, d: Contributions, groups: int, product: Product
) -> Tensor:
    """``Σ d hᵀ`` with the hidden state that each step starts from, as R sees it."""
    if arguments.recurrent_mask is not None or not _starts_are_at_hand(arguments, groups):
        return _product_by_group(
            d.d_recurrent, forward.recurrent_input, forward.real, groups, product
        )
    total = None
    for rows, before in _starts(arguments, forward.saved.output, arguments.h_0):
        total = product(d.d_recurrent[rows].t().unsqueeze(0), before.unsqueeze(0), total)
    assert total is not None  # there is at least one step
    return total


def _peephole_gradient(
    arguments: ScanArguments, forward: Forward, d: Contributions, groups: int, kernels: Kernels
) -> Tensor:
    """``Σ d_z ⊙ c``: i and f see the cell state that a step starts from, o the new one."""
    *d_early, _, d_z_o = d.d_z.chunk(arguments.gate_count, dim=-1)
    real, totals = forward.real, []
    for d_z in d_early:
        total = None
        if _starts_are_at_hand(arguments, groups):
            for rows, before in _starts(arguments, forward.saved.cells, arguments.c_0):
                total = kernels.column_dots(d_z[rows].unsqueeze(0), before.unsqueeze(0), total)
        else:
            d_rows, before = (by_group(value, real, groups) for value in (d_z, forward.c))
            total = kernels.column_dots(d_rows, before)
        assert total is not None  # there is at least one step
        totals.append(total)
    d_rows, new_c = (by_group(value, real, groups) for value in (d_z_o, forward.new_c))
    totals.append(kernels.column_dots(d_rows, new_c))
    return torch.stack(totals, dim=1)


def _starts_are_at_hand(arguments: ScanArguments, groups: int) -> bool:
    """Whether each step starts from what the one before it left, in memory that all rows share."""
    return groups == 1 and arguments.reset is None and arguments.lengths is None


def _starts(
    arguments: ScanArguments, states: Tensor, initial: Tensor
) -> Iterator[tuple[slice, Tensor]]:
    """The state that each step starts from, with no copy: the first step apart from the others."""
    batch = len(initial)
    first, others, before = slice(0, batch), slice(batch, None), states[:-1]
    if arguments.reverse:
        first, others, before = slice(-batch, None), slice(0, -batch), states[1:]
    yield first, initial
    if len(before):
        yield others, before.flatten(0, 1)


def _product_by_group(
    d: Tensor, x: Tensor, real: RealSteps, groups: int, product: Product, sums: Tensor | None = None
) -> Tensor:
    """``Σ d xᵀ`` over the steps and the rows of each group: (groups, M, K).

    ``Σ d``, (groups, M), is written to ``sums``.
    """
    a, b = by_group(d, real, groups).transpose(1, 2), by_group(x, real, groups)
    return product(a, b, row_sums=sums)


def by_group(x: Tensor, real: RealSteps, groups: int) -> Tensor:
    """(N, M) → (groups, n, M).

    Groups differ in how many real steps they have: more than one have their padding again, in
    zeros, which add nothing to a sum.
    """
    if groups == 1:
        return x.unsqueeze(0)
    padded = real.padded(x)
    size = padded.shape[1] // groups
    return padded.unflatten(1, (groups, size)).transpose(0, 1).flatten(1, 2)


def _rows_of_groups(x: Tensor, real: RealSteps, steps: int) -> Tensor:
    """(groups, n, M) → (N, M), the way back."""
    if len(x) == 1:
        return x.squeeze(0)
    size = x.shape[1] // steps
    return real.of(x.unflatten(1, (steps, size)).transpose(0, 1).flatten(1, 2))
