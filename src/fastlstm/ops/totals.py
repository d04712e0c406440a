"""The gradients of what all steps share, from what each step contributes: products and sums."""

from collections.abc import Set

import torch
from torch import Tensor
from torch.nn import functional as F

from fastlstm.ops.arguments import ScanArguments
from fastlstm.ops.gradients import (
    Contributions,
    Forward,
    Gradients,
    Product,
    layer_norm_backward,
    normalize,
    where_alive,
)


def parameter_gradients(
    arguments: ScanArguments,
    forward: Forward,
    d: Contributions,
    needed: Set[str],
    groups: int,
    product: Product,
) -> Gradients:
    """Those of the parameters that the recurrence reads; each has a leading dimension, groups."""
    epsilon = arguments.norm_epsilon
    gradients = {}
    if "weight_hh" in needed:
        gradients["weight_hh"] = _hidden_product(arguments, forward, d, groups, product)
    if d.d_new_h is not None and arguments.weight_hr is not None:
        emitted = forward.o * forward.tanh_seen
        gradients["weight_hr"] = product_by_group(d.d_new_h, emitted, groups, product)
    if arguments.weight_peephole is not None:
        d_z = d.d_z.chunk(arguments.gate_count, dim=-1)
        d_p = [d_z[-3] * forward.c, d_z[-1] * forward.new_c]
        if not arguments.coupled_gates:
            d_p.insert(0, d_z[0] * forward.c)
        gradients["weight_peephole"] = torch.stack([sum_by_group(p, groups) for p in d_p], dim=1)
    if arguments.norm_hh is not None:
        normalized, _ = normalize(forward.recurrent, epsilon)
        gradients["norm_hh"] = sum_by_group(d.d_z * normalized, groups)
    if d.d_seen is not None and arguments.norm_cell is not None:
        normalized, _ = normalize(forward.new_c, epsilon)
        gradients["norm_cell"] = sum_by_group(d.d_seen * normalized, groups)
    if d.d_seen is not None and arguments.norm_cell_bias is not None:
        gradients["norm_cell_bias"] = sum_by_group(d.d_seen, groups)
    return gradients


def input_gradients(
    arguments: ScanArguments,
    d_z: Tensor,
    live: Tensor | None,
    needed: Set[str],
    groups: int,
    product: Product,
) -> Gradients:
    """Those of the input, and of the parameters that join it on its way to the gates."""
    x = where_alive(None if live is None else live.unsqueeze(-1), arguments.input)
    biases = [name for name in ("bias_ih", "bias_hh") if name in needed]
    gradients = {}
    d_bias = None
    if arguments.norm_ih is not None:
        d_bias = sum_by_group(d_z, groups) if biases else None
        gates_x = F.linear(x, arguments.weight_ih)
        normalized, _ = normalize(gates_x, arguments.norm_epsilon)
        gradients["norm_ih"] = sum_by_group(d_z * normalized, groups)
        d_z = layer_norm_backward(d_z, gates_x, arguments.norm_ih, arguments.norm_epsilon)
    elif biases and "weight_ih" not in needed:
        d_bias = sum_by_group(d_z, groups)
    if "weight_ih" in needed:
        sums = None
        if biases and d_bias is None:
            sums = d_z.new_empty(groups, d_z.shape[-1], dtype=arguments.state_dtype)
        gradients["weight_ih"] = product_by_group(d_z, x, groups, product, sums)
        d_bias = d_bias if sums is None else sums
    if "input" in needed:
        d_rows = d_z.reshape(1, -1, d_z.shape[-1])
        gradients["input"] = product(d_rows, arguments.weight_ih.unsqueeze(0)).reshape(x.shape)
    if biases and d_bias is not None:  # the same numbers, each in memory of its own
        gradients.update(zip(biases, (d_bias, d_bias.clone()), strict=False))
    return gradients


def _hidden_product(
    arguments: ScanArguments, forward: Forward, d: Contributions, groups: int, product: Product
) -> Tensor:
    """``Σ d hᵀ`` with the hidden state that each step starts from, as R sees it."""
    switches = (arguments.reset, arguments.recurrent_mask, arguments.lengths)
    if groups > 1 or any(switch is not None for switch in switches):
        return product_by_group(d.d_recurrent, forward.recurrent_input, groups, product)
    # A step starts from the output of the one before it, and the first one from h_0.
    d_steps, output = d.d_recurrent, forward.saved.output
    first, others, before = d_steps[0], d_steps[1:], output[:-1]
    if arguments.reverse:
        first, others, before = d_steps[-1], d_steps[:-1], output[1:]
    total = product(first.t().unsqueeze(0), arguments.h_0.unsqueeze(0))
    if len(others):
        product(others.flatten(0, 1).t().unsqueeze(0), before.flatten(0, 1).unsqueeze(0), total)
    return total


def product_by_group(
    d: Tensor, x: Tensor, groups: int, product: Product, sums: Tensor | None = None
) -> Tensor:
    """``Σ d xᵀ`` over the steps and the rows of each group: (groups, M, N).

    ``Σ d``, (groups, M), is written to ``sums``.
    """
    a, b = _rows_of_groups(d, groups).transpose(1, 2), _rows_of_groups(x, groups)
    return product(a, b, row_sums=sums)


def sum_by_group(d: Tensor, groups: int) -> Tensor:
    """``Σ d`` over the steps and the rows of each group: (groups, M)."""
    return _rows_of_groups(d, groups).sum(dim=1)


def _rows_of_groups(x: Tensor, groups: int) -> Tensor:
    """(T, groups · b, M) → (groups, T · b, M)."""
    steps, rows, width = x.shape
    if groups == 1:
        return x.reshape(1, steps * rows, width)
    by_group = x.reshape(steps, groups, rows // groups, width).transpose(0, 1)
    return by_group.reshape(groups, steps * (rows // groups), width)
