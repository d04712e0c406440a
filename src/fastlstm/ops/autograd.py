"""The derivatives of both operators, for PyTorch's autograd.

They are registered at the dispatcher's ``Autograd`` key by hand, and not through
``torch.library.register_autograd``: what that makes refuses to run inside ``torch.func.grad``.
Here a function is applied as PyTorch's own operators are: at one level of ``torch.func`` at a
time, with the dispatcher going from level to level.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch._functorch.utils import enable_single_level_autograd_function, unwrap_dead_wrappers
from torch.autograd.function import _SingleLevelFunction

from fastlstm.ops import backends, double_backward, eager
from fastlstm.ops.arguments import (
    BACKWARD_FIELDS,
    DIFFERENTIABLE,
    TENSORS,
    BackwardCall,
    Cotangents,
    ScanArguments,
    ScanOutputs,
    any_requires_grad,
)


class _OperatorFunction(_SingleLevelFunction):
    """A function whose forward pass is an operator, below autograd."""

    @classmethod
    def run(cls, *arguments: Any) -> Any:
        """Apply it at the level of ``torch.func`` that the dispatcher is at."""
        with enable_single_level_autograd_function():
            return cls.apply(*unwrap_dead_wrappers(arguments))  # type: ignore[attr-defined]


class _Scan(_OperatorFunction):
    """``fastlstm::scan``, whose gradient is ``fastlstm::scan_backward``."""

    @staticmethod
    def forward(ctx: Any, keys: torch.DispatchKeySet | None, *flat: Any) -> tuple[Tensor, ...]:
        """Run the scan below autograd, and save all that its derivative needs.

        Without ``keys`` it is run outside the dispatcher.
        """
        arguments = ScanArguments(*flat)
        if keys is None:
            outputs = backends.run_scan(arguments)
        else:
            with torch.enable_grad():  # a level of torch.func below this one records too
                outputs = ScanOutputs(*_below_autograd(torch.ops.fastlstm.scan.default, keys, flat))
        ctx.set_materialize_grads(False)
        if arguments.save_every != 1:
            ctx.mark_non_differentiable(outputs.gates, outputs.cells)
        tensors = [getattr(arguments, name) for name in TENSORS]
        ctx.save_for_backward(*tensors, outputs.output, outputs.gates, outputs.cells)
        ctx.numbers = arguments._replace(**dict.fromkeys(TENSORS))
        return tuple(outputs)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor | None) -> tuple[Tensor | None, ...]:
        """Run ``fastlstm::scan_backward``."""
        # One for the dispatch keys, and one for each argument of the operator.
        result: list[Tensor | None] = [None] * (1 + len(ScanArguments._fields))
        if all(cotangent is None for cotangent in cotangents):
            return tuple(result)
        saved_tensors = ctx.saved_tensors
        *tensors, output, gates, cells = saved_tensors
        arguments = ctx.numbers._replace(**dict(zip(TENSORS, tensors, strict=True)))
        needs = list(ctx.needs_input_grad[1 : 1 + len(DIFFERENTIABLE)])
        call = BackwardCall(Cotangents(*cotangents), arguments, output, gates, cells, needs, 0)
        if torch.is_grad_enabled() or not eager.is_plain((*cotangents, *saved_tensors)):
            gradients = dict(
                zip(DIFFERENTIABLE, torch.ops.fastlstm.scan_backward(*call.to_flat()), strict=True)
            )
        else:
            gradients = backends.run_scan_backward(call)
        for index, (name, need) in enumerate(zip(DIFFERENTIABLE, needs, strict=True), start=1):
            if need:
                result[index] = gradients[name]
        return tuple(result)


class _ScanBackward(_OperatorFunction):
    """``fastlstm::scan_backward``, differentiated through the reference equations."""

    @staticmethod
    def forward(ctx: Any, keys: torch.DispatchKeySet, *flat: Any) -> tuple[Tensor, ...]:
        """Run the operator below autograd, and save its arguments."""
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*(v if isinstance(v, Tensor) else None for v in flat))
        ctx.others = [None if isinstance(value, Tensor) else value for value in flat]
        with torch.enable_grad():  # as above
            return tuple(_below_autograd(torch.ops.fastlstm.scan_backward.default, keys, flat))

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor | None) -> tuple[Tensor | None, ...]:
        """Differentiate the reference's backward pass."""
        flat = [
            other if tensor is None else tensor
            for tensor, other in zip(ctx.saved_tensors, ctx.others, strict=True)
        ]
        call = BackwardCall.from_flat(flat)
        gradients = double_backward.gradients(
            call.cotangents, call.arguments, call.needs, call.groups, cotangents
        )
        nothing = [None] * (len(BACKWARD_FIELDS) - len(gradients))
        return (None, *gradients, *nothing)


def scan_outside_the_dispatcher(arguments: ScanArguments) -> ScanOutputs:
    """The scan, where ``eager.is_plain`` holds of its tensors."""
    if torch.is_grad_enabled() and any_requires_grad(arguments):
        return ScanOutputs(*_Scan.run(None, *arguments))
    return backends.run_scan(arguments)


def scan_kernel(keys: torch.DispatchKeySet, *flat: Any) -> Sequence[Tensor]:
    """What the dispatcher runs at the ``Autograd`` key of ``fastlstm::scan``."""
    if torch.is_grad_enabled() and any_requires_grad(flat):
        return _Scan.run(keys, *flat)
    return _below_autograd(torch.ops.fastlstm.scan.default, keys, flat)


def scan_backward_kernel(keys: torch.DispatchKeySet, *flat: Any) -> Sequence[Tensor]:
    """What the dispatcher runs at the ``Autograd`` key of ``fastlstm::scan_backward``."""
    if torch.is_grad_enabled() and any_requires_grad(flat):
        return _ScanBackward.run(keys, *flat)
    return _below_autograd(torch.ops.fastlstm.scan_backward.default, keys, flat)


def _below_autograd(
    operator: torch._ops.OpOverload, keys: torch.DispatchKeySet, flat: Sequence[Any]
) -> Sequence[Tensor]:
    with torch._C._AutoDispatchBelowAutograd():
        return operator.redispatch(keys & torch._C._after_autograd_keyset, *flat)
