"""Per-sample gradients by ``torch.nn.utils``' expanded weights (``call_for_per_sample_grads``).

There a parameter is given as an ``ExpandedWeight``, and the backward pass leaves the gradient of
each row of the batch in the parameter's ``grad_sample``. For new code ``torch.func.vmap`` of
``torch.func.grad`` does the same.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn.utils._expanded_weights.expanded_weights_impl import (
    ExpandedWeight,
    implements_per_sample_grads,
)
from torch.nn.utils._expanded_weights.expanded_weights_utils import set_grad_sample_if_exists

from fastlstm.ops.arguments import DIFFERENTIABLE, PARAMETERS, BackwardCall, Cotangents
from fastlstm.ops.arguments import ScanArguments as Arguments


class _PerSampleScan(torch.autograd.Function):
    """The scan, with each row of the batch a group in the backward pass."""

    @staticmethod
    def forward(ctx: Any, _: Any, operator: Any, *flat: Any) -> tuple[Tensor, ...]:
        expanded = Arguments(*flat)
        rows = expanded.input.shape[1]
        for name in PARAMETERS:
            _check_batch_size(name, getattr(expanded, name), rows)
        plain = [v.orig_weight if isinstance(v, ExpandedWeight) else v for v in flat]
        arguments = Arguments(*plain)._replace(save_every=1)
        outputs = operator(*arguments)
        ctx.expanded, ctx.arguments, ctx.outputs = expanded, arguments, outputs
        ctx.set_materialize_grads(False)
        return tuple(outputs)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor | None) -> tuple[Tensor | None, ...]:
        output, _, _, gates, cells = ctx.outputs
        # Before the operator's arguments come the names of keywords and the operator itself.
        needs = list(ctx.needs_input_grad[2 : 2 + len(DIFFERENTIABLE)])
        call = BackwardCall(
            Cotangents(*cotangents),
            ctx.arguments,
            output,
            gates,
            cells,
            needs,
            groups=output.shape[1],
        )
        gradients = torch.ops.fastlstm.scan_backward(*call.to_flat())
        result: list[Tensor | None] = []
        for name, need, gradient in zip(DIFFERENTIABLE, needs, gradients, strict=True):
            if name in PARAMETERS:
                set_grad_sample_if_exists(getattr(ctx.expanded, name), lambda _, g=gradient: g)
            result.append(gradient if need and name not in PARAMETERS else None)
        others = len(Arguments._fields) - len(DIFFERENTIABLE)
        return (None, None, *result, *[None] * others)


def _check_batch_size(name: str, value: Any, rows: int) -> None:
    if isinstance(value, ExpandedWeight) and value.batch_size != rows:
        raise RuntimeError(
            "Expected ExpandedWeights to have batch size matching input but got input batch size "
            f"of {rows} with ExpandedWeight {name} of batch size {value.batch_size}"
        )


def register(operator: Any) -> None:
    """Have ``ExpandedWeight`` arguments of the operator ``fastlstm::scan`` handled here."""
    implements_per_sample_grads(operator)(_PerSampleScan)
