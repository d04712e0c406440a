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
        h = forward.recurrent_input
        gradients["weight_hh"] = product_by_group(d.d_recurrent, h, groups, product)
    given = [name for name in ("bias_ih", "bias_hh") if getattr(arguments, name) is not None]
    if given:  # the same numbers, each in memory of its own
        d_bias = sum_by_group(d.d_z, groups)
        gradients.update(zip(given, (d_bias, d_bias.clone()), strict=False))
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
    """Those of the input, and of the parameters that read it."""
    x = where_alive(None if live is None else live.unsqueeze(-1), arguments.input)
    gradients = {}
    if arguments.norm_ih is not None:
        gates_x = F.linear(x, arguments.weight_ih)
        normalized, _ = normalize(gates_x, arguments.norm_epsilon)
        gradients["norm_ih"] = sum_by_group(d_z * normalized, groups)
        d_z = layer_norm_backward(d_z, gates_x, arguments.norm_ih, arguments.norm_epsilon)
    if "weight_ih" in needed:
        gradients["weight_ih"] = product_by_group(d_z, x, groups, product)
    if "input" in needed:
        d_rows = d_z.reshape(1, -1, d_z.shape[-1])
        gradients["input"] = product(d_rows, arguments.weight_ih.unsqueeze(0)).reshape(x.shape)
    return gradients


def product_by_group(d: Tensor, x: Tensor, groups: int, product: Product) -> Tensor:
    """``Σ d xᵀ`` over the steps and the rows of each group: (groups, M, N)."""
    return product(_rows_of_groups(d, groups).transpose(1, 2), _rows_of_groups(x, groups))


def sum_by_group(d: Tensor, groups: int) -> Tensor:
    """``Σ d`` over the steps and the rows of each group: (groups, M)."""
    return _rows_of_groups(d, groups).sum(dim=1)


def _rows_of_groups(x: Tensor, groups: int) -> Tensor:
    """(T, groups · b, M) → (groups, T · b, M)."""
    steps, rows, width = x.shape
    by_group = x.reshape(steps, groups, rows // groups, width).transpose(0, 1)
    return by_group.reshape(groups, steps * (rows // groups), width)
