"""The gradients of what all steps share, from what each step contributes: products and sums."""

from collections.abc import Iterator, Set

import torch
from torch import Tensor

from fastlstm.ops.arguments import ScanArguments
from fastlstm.ops.gradients import Contributions, Forward, Gradients, Kernels, where_alive
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
    gradients = {}
    if "weight_hh" in needed:
        gradients["weight_hh"] = _hidden_product(arguments, forward, d, groups, kernels.product)
    if d.d_new_h is not None and "weight_hr" in needed:
        emitted = forward.o * forward.tanh_seen
        gradients["weight_hr"] = product_by_group(d.d_new_h, emitted, groups, kernels.product)
    if "weight_peephole" in needed:
        gradients["weight_peephole"] = _peephole_gradient(arguments, forward, d, groups, kernels)
    if "norm_hh" in needed:
        d_rows, x = rows_of_groups(d.d_z, groups), rows_of_groups(forward.recurrent, groups)
        totals = kernels.norm_totals(d_rows, x, None, arguments.norm_epsilon)
        gradients["norm_hh"] = totals.d_gain
    if d.d_seen is not None and needed & {"norm_cell", "norm_cell_bias"}:
        d_rows, x = rows_of_groups(d.d_seen, groups), rows_of_groups(forward.new_c, groups)
        totals = kernels.norm_totals(d_rows, x, None, arguments.norm_epsilon)
        gradients["norm_cell"], gradients["norm_cell_bias"] = totals.d_gain, totals.d_bias
    return gradients


def input_gradients(
    arguments: ScanArguments,
    d_z: Tensor,
    live: Tensor | None,
    needed: Set[str],
    groups: int,
    kernels: Kernels,
) -> Gradients:
    """Those of the input, and of the parameters that join it on its way to the gates."""
    x = where_alive(None if live is None else live.unsqueeze(-1), arguments.input).contiguous()
    biases = [name for name in ("bias_ih", "bias_hh") if name in needed]
    gradients = {}
    d_bias = None
    if arguments.norm_ih is not None and needed & {"input", "weight_ih", "norm_ih"}:
        gates_x = times(x, arguments.weight_ih.t(), kernels.product)
        totals = kernels.norm_totals(
            rows_of_groups(d_z, groups),
            rows_of_groups(gates_x, groups),
            arguments.norm_ih if needed & {"input", "weight_ih"} else None,
            arguments.norm_epsilon,
        )
        gradients["norm_ih"], d_bias = totals.d_gain, totals.d_bias
        if totals.d_x is not None:
            d_z = _steps_of_groups(totals.d_x, d_z.shape[0])
    elif biases and (arguments.norm_ih is not None or "weight_ih" not in needed):
        d_bias = rows_of_groups(d_z, groups).sum(dim=1)
    if "weight_ih" in needed:
        sums = None
        if biases and d_bias is None:
            sums = d_z.new_empty(groups, d_z.shape[-1], dtype=arguments.state_dtype)
        gradients["weight_ih"] = product_by_group(d_z, x, groups, kernels.product, sums)
        d_bias = d_bias if sums is None else sums
    if "input" in needed:
        gradients["input"] = times(d_z, arguments.weight_ih, kernels.product)
    if biases and d_bias is not None:  # the same numbers, each in memory of its own
        gradients.update(zip(biases, (d_bias, d_bias.clone()), strict=False))
    return gradients


def _hidden_product(
    arguments: ScanArguments, forward: Forward, d: Contributions, groups: int, product: Product
) -> Tensor:
    """``Σ d hᵀ`` with the hidden state that each step starts from, as R sees it."""
    if arguments.recurrent_mask is not None or not _starts_are_at_hand(arguments, groups):
        return product_by_group(d.d_recurrent, forward.recurrent_input, groups, product)
    total = None
    for steps, before in _starts(arguments, forward.saved.output, arguments.h_0):
        d_rows = rows_of_groups(d.d_recurrent[steps], 1)
        total = product(d_rows.transpose(1, 2), rows_of_groups(before, 1), total)
    assert total is not None  # there is at least one step
    return total


def _peephole_gradient(
    arguments: ScanArguments, forward: Forward, d: Contributions, groups: int, kernels: Kernels
) -> Tensor:
    """``Σ d_z ⊙ c``: i and f see the cell state that a step starts from, o the new one."""
    *d_early, _, d_z_o = d.d_z.chunk(arguments.gate_count, dim=-1)
    totals = []
    for d_z in d_early:
        total = None
        for steps, before in _cell_starts(arguments, forward, groups):
            d_rows = rows_of_groups(d_z[steps], groups)
            total = kernels.column_dots(d_rows, rows_of_groups(before, groups), total)
        totals.append(total)
    new_c = rows_of_groups(forward.new_c, groups)
    totals.append(kernels.column_dots(rows_of_groups(d_z_o, groups), new_c))
    return torch.stack(totals, dim=1)


def _cell_starts(
    arguments: ScanArguments, forward: Forward, groups: int
) -> Iterator[tuple[slice, Tensor]]:
    if _starts_are_at_hand(arguments, groups):
        yield from _starts(arguments, forward.saved.cells, arguments.c_0)
    else:
        yield slice(None), forward.c


def _starts_are_at_hand(arguments: ScanArguments, groups: int) -> bool:
    """Whether each step starts from what the one before it left, in memory that all rows share."""
    return groups == 1 and arguments.reset is None and arguments.lengths is None


def _starts(
    arguments: ScanArguments, states: Tensor, initial: Tensor
) -> Iterator[tuple[slice, Tensor]]:
    """The state that each step starts from, with no copy: the first step apart from the others."""
    first, others, before = slice(0, 1), slice(1, None), states[:-1]
    if arguments.reverse:
        first, others, before = slice(-1, None), slice(0, -1), states[1:]
    yield first, initial.unsqueeze(0)
    if len(before):
        yield others, before


def product_by_group(
    d: Tensor, x: Tensor, groups: int, product: Product, sums: Tensor | None = None
) -> Tensor:
    """``Σ d xᵀ`` over the steps and the rows of each group: (groups, M, N).

    ``Σ d``, (groups, M), is written to ``sums``.
    """
    a, b = rows_of_groups(d, groups).transpose(1, 2), rows_of_groups(x, groups)
    return product(a, b, row_sums=sums)


def rows_of_groups(x: Tensor, groups: int) -> Tensor:
    """(T, groups · b, M) → (groups, T · b, M)."""
    steps, rows, width = x.shape
    if groups == 1:
        return x.reshape(1, steps * rows, width)
    by_group = x.reshape(steps, groups, rows // groups, width).transpose(0, 1)
    return by_group.reshape(groups, steps * (rows // groups), width)


def _steps_of_groups(x: Tensor, steps: int) -> Tensor:
    """(groups, T · b, M) → (T, groups · b, M)."""
    groups, rows, width = x.shape
    by_step = x.reshape(groups, steps, rows // steps, width).transpose(0, 1)
    return by_step.reshape(steps, groups * (rows // steps), width)
