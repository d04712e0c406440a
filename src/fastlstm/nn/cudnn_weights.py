"""Where the weights lie that cuDNN reads: in its own order, in one piece of memory.

To copy them there costs each call a kernel for every weight. So a layer's parameters are moved
there once, as ``torch.nn.LSTM``'s are, and a call whose weights lie so copies nothing. As that
memory *is* the parameters, nothing can be stale. A copy kept for later calls could be, silently: a
write through ``.data`` changes no tensor's version.

*When they are moved.* When ``torch.nn.LSTM`` moves them: as a layer is made, moved or cast, and on
``flatten_parameters``. Never during a call: a CUDA graph that recorded another call, or an
optimizer's step, would go on to read the memory that the parameters had then.

*Which are moved.* Parameters that fill their memory, each its own. A larger piece has an owner that
cannot be asked: FSDP's flat parameter, a vector of all parameters, a layer that shares a weight. So
has what is no plain parameter: a parametrized weight, a distributed tensor.

*Which are used as they lie.* Each call holds every weight's address against cuDNN's order. Only
cuDNN knows that, so it is read off what PyTorch's operator makes, the first time that it copies or
moves weights of a `Form`; until then they are copied, wherever they lie. What no weight fills, the
biases of a layer that has none, must be zeros: only memory that `move` made is known to have them.

*Under autocast* each weight would be cast, and the casts copied. Where the weights lie in order,
all their memory is cast at once and lies so still; only without biases it is copied once more.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn import Parameter

from fastlstm.nn.parameters import field_of
from fastlstm.ops.arguments import any_requires_grad

FIELDS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
"""The parameters that cuDNN knows, in PyTorch's order."""

LSTM = 2
"""The number of this kind of network among cuDNN's, as PyTorch numbers them."""

_flatten = torch.ops.aten._cudnn_rnn_flatten_weight


class Form(NamedTuple):
    """What cuDNN's order of the weights depends on."""

    layers: int
    directions: int
    parameters: int  # of a layer and direction
    features: int
    hidden: int
    projection: int
    dtype: torch.dtype
    device: torch.device


class _Order(NamedTuple):
    """Where cuDNN has the weights of a form, in bytes."""

    places: list[int]  # of each weight
    size: int  # of everything
    has_gaps: bool


_orders: dict[Form, _Order] = {}
_moved: dict[int, tuple[StorageWeakRef, Form]] = {}
"""The memory that `move` made, by its address, and for what; while it lives."""


def takes(x: Tensor) -> bool:
    """Whether there is a cuDNN for tensors of this device and dtype.

    ``nn.LSTM`` asks the same of bfloat16; from PyTorch 2.10 on it is no part of being acceptable.
    """
    if torch.version.hip or not torch.cudnn_is_acceptable(x):
        return False
    if x.dtype == torch.bfloat16:
        version = torch.backends.cudnn.version()
        return (version or 0) >= 91_300 and torch.cuda.get_device_capability(x.device) >= (8, 0)
    return x.dtype in (torch.float64, torch.float32, torch.float16)


def in_order(form: Form, weights: Sequence[Tensor]) -> Tensor:
    """All weights in one piece of memory, where they lie if they lie so, or else copied there.

    Args:
        form: theirs.
        weights: contiguous, of each layer and direction those of `FIELDS` that it has.
    """
    found = _as_they_lie(form, weights)
    if found is not None:
        return found
    # PyTorch would copy them at each call too, and each time print that it had to.
    with torch.no_grad():
        copied = [value.new_empty(0).set_(value) for value in weights]  # type: ignore[call-overload]
        return _put_in_order(form, copied)


def cast_as_they_lie(
    form: Form, weights: Sequence[Tensor], dtype: torch.dtype
) -> Sequence[Tensor] | None:
    """The weights in 16 bits, all by one kernel and as they lay, if in cuDNN's order; or None.

    Args:
        form: theirs, in float32.
        weights: as for `in_order`.
        dtype: the new one.
    """
    if any(value.dtype != torch.float32 for value in weights):
        return None
    piece = _as_they_lie(form, weights)
    if piece is None:
        return None
    if torch.is_grad_enabled() and any_requires_grad(weights):
        return _Cast.apply(form, piece, dtype, *weights)  # type: ignore[return-value]
    return _cast(form, piece, dtype, weights)


def _cast(
    form: Form, piece: Tensor, dtype: torch.dtype, weights: Sequence[Tensor]
) -> tuple[Tensor, ...]:
    cast = piece.to(dtype)
    places = _orders[form].places
    return tuple(
        cast.as_strided(value.shape, value.stride(), place // piece.itemsize)
        for value, place in zip(weights, places, strict=True)
    )


class _Cast(torch.autograd.Function):
    """`_cast`, as autograd knows it: each weight's gradient is cast back."""

    @staticmethod
    def forward(
        ctx: Any, form: Form, piece: Tensor, dtype: torch.dtype, *weights: Tensor
    ) -> tuple[Tensor, ...]:
        """The weights, cast."""
        ctx.set_materialize_grads(False)
        return _cast(form, piece, dtype, weights)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor | None) -> tuple[Tensor | None, ...]:
        """The gradients of the weights."""
        return None, None, None, *(None if d is None else d.float() for d in cotangents)


def move(layer: Any) -> None:
    """Move the parameters of a ``fastlstm.LSTM`` to where cuDNN can use them as they lie.

    Does nothing where cuDNN is not, or where the parameters are not to be moved, see above.
    """
    names = layer._flat_weights_names
    weights = [layer._parameters.get(name) for name in names]
    if layer.coupled_gates or any(field_of(name) not in FIELDS for name in names):
        return
    if not _are_plain(weights) or not takes(weights[0]):
        return
    form = Form(
        layer.num_layers,
        2 if layer.bidirectional else 1,
        len(layer._all_weights[0]),
        layer.input_size,
        layer.hidden_size,
        layer.proj_size,
        weights[0].dtype,
        weights[0].device,
    )
    if _as_they_lie(form, weights) is None and _have_no_other_owner(weights):
        with torch.cuda.device_of(weights[0]), torch.no_grad():
            _remember(_put_in_order(form, weights).untyped_storage(), form)


def _are_plain(weights: Sequence[Tensor | None]) -> bool:
    """Whether each is a parameter, and nothing else besides, of one device and dtype."""
    first = weights[0]
    return first is not None and all(
        type(value) is Parameter
        and not value.is_inference()
        and value.is_contiguous()
        and (value.dtype, value.device) == (first.dtype, first.device)
        for value in weights
    )


def _have_no_other_owner(weights: Sequence[Tensor]) -> bool:
    """Whether each fills its memory alone, or lies where `move` put it."""
    pieces = [value.untyped_storage() for value in weights]
    return len({value.data_ptr() for value in weights}) == len(weights) and all(
        piece._cdata in _moved or piece.nbytes() == value.nbytes
        for piece, value in zip(pieces, weights, strict=True)
    )


def _put_in_order(form: Form, weights: Sequence[Tensor]) -> Tensor:
    """Make the weights views of a new piece of memory in cuDNN's order, and return that."""
    found = _flatten(
        weights,
        form.parameters,
        form.features,
        LSTM,
        form.hidden,
        form.projection,
        form.layers,
        False,  # batch first
        form.directions == 2,
    )
    if form not in _orders:
        start, filled = found.data_ptr(), sum(value.nbytes for value in weights)
        places = [value.data_ptr() - start for value in weights]
        _orders[form] = _Order(places, found.nbytes, filled != found.nbytes)
    return found


def _as_they_lie(form: Form, weights: Sequence[Tensor]) -> Tensor | None:
    """The piece of memory that the weights lie in, if it is what cuDNN reads; or None."""
    order = _orders.get(form)
    if order is None:
        return None
    piece = weights[0].untyped_storage()
    if piece.nbytes() != order.size:
        return None
    if order.has_gaps and _moved.get(piece._cdata, (None, None))[1] != form:
        return None
    start = piece.data_ptr()
    if [value.data_ptr() - start for value in weights] != order.places:
        return None
    return weights[0].new_empty(0).set_(piece)  # type: ignore[call-overload]


def _remember(piece: torch.UntypedStorage, form: Form) -> None:
    """Note that `move` made this memory, and forget what is gone.

    The weak reference keeps another one from being made at the same address.
    """
    for address, (reference, _) in list(_moved.items()):
        if reference.expired():
            _moved.pop(address, None)
    _moved[piece._cdata] = (StorageWeakRef(piece), form)
