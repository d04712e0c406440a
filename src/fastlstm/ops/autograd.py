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

_TENSOR_COUNT = len(TENSORS)  # they are the first fields of `ScanArguments`
_SAVE_EVERY = ScanArguments._fields.index("save_every")
assert ScanArguments._fields[:_TENSOR_COUNT] == TENSORS


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
    def forward(ctx: Any, keys: torch.DispatchKeySet, *flat: Any) -> tuple[Tensor, ...]:
        """Run the scan below autograd, and save all that its derivative needs."""
        with torch.enable_grad():  # a level of torch.func below this one records too
            outputs = ScanOutputs(*_below_autograd(torch.ops.fastlstm.scan.default, keys, flat))
        _save(ctx, flat[:_TENSOR_COUNT], flat[_TENSOR_COUNT:], outputs)
        return tuple(outputs)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor | None) -> tuple[Tensor | None, ...]:
        """Run ``fastlstm::scan_backward``."""
        gradients = _gradients(ctx, cotangents, ctx.saved_tensors, ctx.needs_input_grad[1:])
        without = len(ScanArguments._fields) - len(gradients)
        return (None, *gradients, *[None] * without)


class _EagerScan(_SingleLevelFunction):
    """The same outside the dispatcher. Only the tensors that are given pass through autograd."""

    @staticmethod
    def forward(ctx: Any, arguments: ScanArguments, *given: Tensor) -> tuple[Tensor, ...]:
        """Run the scan, and save all that its derivative needs."""
        outputs = backends.run_scan(arguments)
        _save(ctx, given, arguments[_TENSOR_COUNT:], outputs)
        ctx.places = [place for place in range(_TENSOR_COUNT) if arguments[place] is not None]
        return tuple(outputs)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor | None) -> tuple[Tensor | None, ...]:
        """The gradients of the tensors that were given."""
        *given, output, gates, cells = ctx.saved_tensors
        tensors: list[Tensor | None] = [None] * _TENSOR_COUNT
        needs = [False] * _TENSOR_COUNT
        for place, tensor, need in zip(ctx.places, given, ctx.needs_input_grad[1:], strict=True):
            tensors[place], needs[place] = tensor, need
        gradients = _gradients(ctx, cotangents, (*tensors, output, gates, cells), needs)
        count = len(gradients)
        return (None, *(gradients[p] if p < count else None for p in ctx.places))


def _save(
    ctx: Any, tensors: Sequence[Tensor | None], numbers: Sequence[Any], outputs: ScanOutputs
) -> None:
    ctx.set_materialize_grads(False)
    if numbers[_SAVE_EVERY - _TENSOR_COUNT] != 1:
        ctx.mark_non_differentiable(outputs.gates, outputs.cells)
    ctx.save_for_backward(*tensors, outputs.output, outputs.gates, outputs.cells)
    ctx.numbers = numbers


def _gradients(
    ctx: Any,
    cotangents: Sequence[Tensor | None],
    saved: Sequence[Any],
    needs_input_grad: Sequence[bool],
) -> list[Tensor | None]:
    """The gradient of each differentiable field, or None where it is not needed."""
    needs = list(needs_input_grad[: len(DIFFERENTIABLE)])
    if all(cotangent is None for cotangent in cotangents):
        return [None] * len(needs)
    *tensors, output, gates, cells = saved
    arguments = ScanArguments(*tensors, *ctx.numbers)
    call = BackwardCall(Cotangents(*cotangents), arguments, output, gates, cells, needs, 0)
    device_type = arguments.input.device.type
    if torch.is_grad_enabled() or not eager.is_plain((*cotangents, *saved), device_type):
        found = torch.ops.fastlstm.scan_backward(*call.to_flat())
        return [d if need else None for d, need in zip(found, needs, strict=True)]
    gradients = backends.run_scan_backward(call)
    return [
        gradients[name] if need else None for name, need in zip(DIFFERENTIABLE, needs, strict=True)
    ]


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
        given = [value for value in arguments[:_TENSOR_COUNT] if value is not None]
        return ScanOutputs(*_EagerScan.apply(arguments, *given))  # type: ignore[attr-defined]
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
