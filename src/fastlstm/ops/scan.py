"""The operators ``fastlstm::scan`` and ``fastlstm::scan_backward``, and all of PyTorch's rules.

``scan`` runs one layer in one direction over all time steps; ``scan_backward`` returns the
gradients of its arguments. Both are opaque to a compiler: a graph holds one node for a whole
sequence. What each rule does:

- *fake*: shapes and dtypes, so that ``torch.compile`` and ``torch.export`` can trace;
- *autograd*: the gradient of ``scan`` is ``scan_backward``; that of ``scan_backward`` is found by
  differentiating the reference equations, so any order of derivative exists;
- *vmap*: see `vmap.py`;
- *autocast*: floating-point inputs are cast to the autocast dtype, as ``nn.LSTM``'s are.

Forward-mode derivatives (``torch.func.jvp``) have no rule of their own: while forward mode is
active `scan` below runs the reference equations, which PyTorch differentiates.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from fastlstm.ops import autograd, backends, eager, equations, expanded_weights, vmap
from fastlstm.ops.arguments import (
    DIFFERENTIABLE,
    PARAMETERS,
    TENSORS,
    BackwardCall,
    Cotangents,
    ScanArguments,
    ScanOutputs,
    check_arguments,
    schema_of_arguments,
)
from fastlstm.ops.cuda_graphs import CUDAGRAPH_UNSAFE

_library = torch.library.Library("fastlstm", "DEF")
_COTANGENTS = ", ".join(f"Tensor? d_{name}" for name in Cotangents._fields)
_GRADIENTS = ", ".join(["Tensor"] * len(DIFFERENTIABLE))
_TAGS = () if CUDAGRAPH_UNSAFE is None else (CUDAGRAPH_UNSAFE,)
_library.define(
    f"scan({schema_of_arguments()}) "
    "-> (Tensor output, Tensor h_n, Tensor c_n, Tensor gates, Tensor cells)",
    tags=_TAGS,
)
# `needs` has one entry for each differentiable argument, and so have the results: a gradient where
# it is true, a tensor without elements where it is false. (Not a list of those that are true: the
# batching behind `torch.autograd.grad(is_grads_batched=True)` knows no lists.)
_library.define(
    f"scan_backward({_COTANGENTS}, {schema_of_arguments()}, "
    f"Tensor output, Tensor gates, Tensor cells, bool[] needs, int groups) -> ({_GRADIENTS})",
    tags=_TAGS,
)


def scan(arguments: ScanArguments) -> ScanOutputs:
    """Run one layer in one direction; every transformation of PyTorch applies."""
    if forward_mode_is_active():
        check_arguments(arguments)
        return equations.scan(arguments)
    if eager.is_plain((getattr(arguments, n) for n in TENSORS), arguments.input.device.type):
        return autograd.scan_outside_the_dispatcher(arguments)
    return ScanOutputs(*torch.ops.fastlstm.scan(*arguments))


def forward_mode_is_active() -> bool:
    """Whether a forward-mode derivative is being taken (``torch.func.jvp``, ``dual_level``)."""
    return forward_ad._current_level >= 0


# Kernels -----------------------------------------------------------------------------------------


def _scan(*arguments: Any) -> tuple[Tensor, ...]:
    return tuple(backends.run_scan(ScanArguments(*arguments)))


def _scan_backward(*arguments: Any) -> tuple[Tensor, ...]:
    call = BackwardCall.from_flat(arguments)
    gradients = backends.run_scan_backward(call)
    return tuple(
        gradients[name] if need else call.output.new_empty(0)
        for name, need in zip(DIFFERENTIABLE, call.needs, strict=True)
    )


_library.impl("scan", _scan, "CompositeExplicitAutograd")
_library.impl("scan_backward", _scan_backward, "CompositeExplicitAutograd")


# Fake kernels ------------------------------------------------------------------------------------


@torch.library.register_fake("fastlstm::scan", lib=_library)
def _scan_fake(*arguments: Any) -> tuple[Tensor, ...]:
    checked = ScanArguments(*arguments)
    check_arguments(checked)
    x, h_0, c_0 = checked.input, checked.h_0, checked.c_0
    gates, cells = equations.saved_shapes(checked)
    return (
        x.new_empty((x.shape[0], x.shape[1], h_0.shape[1])),
        h_0.new_empty(h_0.shape),
        c_0.new_empty(c_0.shape),
        x.new_empty(gates),
        x.new_empty(cells, dtype=checked.state_dtype),
    )


@torch.library.register_fake("fastlstm::scan_backward", lib=_library)
def _scan_backward_fake(*arguments: Any) -> tuple[Tensor, ...]:
    call = BackwardCall.from_flat(arguments)
    result = []
    for name, need in zip(DIFFERENTIABLE, call.needs, strict=True):
        value = getattr(call.arguments, name)
        if not need:
            result.append(call.output.new_empty(0))
        elif call.groups and name in PARAMETERS:
            result.append(value.new_empty((call.groups, *value.shape)))
        else:
            result.append(value.new_empty(value.shape))
    return tuple(result)


# Autograd ----------------------------------------------------------------------------------------

_library.impl("scan", autograd.scan_kernel, "Autograd", with_keyset=True)
_library.impl("scan_backward", autograd.scan_backward_kernel, "Autograd", with_keyset=True)


# Vmap --------------------------------------------------------------------------------------------

torch.library.register_vmap("fastlstm::scan", vmap.scan, lib=_library)
torch.library.register_vmap("fastlstm::scan_backward", vmap.scan_backward, lib=_library)


# Per-sample gradients of `torch.nn.utils` --------------------------------------------------------

expanded_weights.register(torch.ops.fastlstm.scan)


# Autocast ----------------------------------------------------------------------------------------


def _autocast_kernel(device_type: str, key: torch.DispatchKey) -> Any:
    def kernel(*arguments: Any) -> Any:
        dtype = torch.get_autocast_dtype(device_type)
        cast = [cast_by_autocast(value, device_type, dtype) for value in arguments]
        with torch._C._ExcludeDispatchKeyGuard(torch._C.DispatchKeySet(key)):
            return torch.ops.fastlstm.scan(*cast)

    return kernel


def cast_by_autocast(value: Any, device_type: str, dtype: torch.dtype) -> Any:
    """Autocast's own rule: floating-point tensors of that device, but for float64."""
    if not isinstance(value, Tensor) or not value.is_floating_point():
        return value
    if value.device.type != device_type or value.dtype == torch.float64:
        return value
    return value.to(dtype)


def _autocast_backward_kernel(key: torch.DispatchKey) -> Any:
    """Casts nothing: the tensors have the dtype of the forward pass, and keep it."""

    def kernel(*arguments: Any) -> Any:
        with torch._C._ExcludeDispatchKeyGuard(torch._C.DispatchKeySet(key)):
            return torch.ops.fastlstm.scan_backward(*arguments)

    return kernel


for _device_type in ("cpu", "cuda", "xpu"):
    _key = "Autocast" + torch._C._dispatch_key_for_device(_device_type)
    _dispatch_key = getattr(torch._C.DispatchKey, _key)
    _library.impl("scan", _autocast_kernel(_device_type, _dispatch_key), _key)
    _library.impl("scan_backward", _autocast_backward_kernel(_dispatch_key), _key)
