"""Layers by cuDNN's two operators, as one function that autograd knows.

Of a packed sequence the input is its data (N, I), and how many rows each step has comes beside it.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from fastlstm.nn import packed
from fastlstm.nn.cudnn_weights import FIELDS, LSTM, Form, cast_as_they_lie, in_order
from fastlstm.nn.parameters import LayerParameters
from fastlstm.nn.stack import Sequences, States, run_stack
from fastlstm.nn.switches import Switches
from fastlstm.ops.arguments import any_requires_grad
from fastlstm.ops.backends import nothing_forced

_forward = torch.ops.aten._cudnn_rnn
_backward = torch.ops.aten._cudnn_rnn_backward


def flat(x: Tensor, initial: States, parameters: Sequence[LayerParameters]) -> list[Tensor]:
    """All tensors of a call: the input, both states, and the parameters in cuDNN's order."""
    given = (getattr(layer, name) for layer in parameters for name in FIELDS)
    return [x, *initial, *(value for value in given if value is not None)]


class _Sizes(NamedTuple):
    """What cuDNN is told beside its tensors."""

    layers: int
    directions: int
    names: tuple[str, ...]  # of the parameters of a layer and direction
    hidden: int
    projection: int
    rows: tuple[int, ...]  # of each step of a packed sequence

    def arguments(self, trains: bool) -> tuple[Any, ...]:
        """Those after the states, in the order of both operators."""
        dropout, batch_first, bidirectional = 0.0, False, self.directions == 2
        sizes = (LSTM, self.hidden, self.projection, self.layers)
        return (*sizes, batch_first, dropout, trains, bidirectional, self.rows, None)

    def form(self, features: int, weight: Tensor) -> Form:
        """What cuDNN's order of the weights depends on, of which one is given."""
        sizes = (len(self.names), features, self.hidden, self.projection)
        return Form(self.layers, self.directions, *sizes, weight.dtype, weight.device)

    def scanned(self, tensors: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """The same layers by our own scans, from `flat`'s tensors."""
        x, h_0, c_0, *weights = tensors
        each = len(self.names)
        layers = [
            LayerParameters(**dict(zip(self.names, weights[first : first + each], strict=True)))
            for first in range(0, len(weights), each)
        ]
        batch, sequences = None, Sequences(x, (h_0, c_0))
        if self.rows:
            batch = packed.unpack(PackedSequence(x, torch.tensor(self.rows, device="cpu")))
            lengths = batch.lengths.to(x.device, non_blocking=True)
            sequences = sequences._replace(input=batch.input, lengths=lengths)
        with nothing_forced():
            found = run_stack(sequences, layers, self.directions, Switches(), False)
        output = found.output if batch is None else batch.pack(found.output).data
        return (output, *found.final)


def _sizes_of(
    initial: States,
    parameters: Sequence[LayerParameters],
    directions: int,
    batch_sizes: Sequence[int] = (),
) -> _Sizes:
    first = parameters[0]
    return _Sizes(
        len(parameters) // directions,
        directions,
        tuple(name for name in FIELDS if getattr(first, name) is not None),
        initial[1].shape[-1],
        0 if first.weight_hr is None else first.weight_hr.shape[0],
        tuple(batch_sizes),
    )


def cast_together(
    x: Tensor,
    initial: States,
    parameters: Sequence[LayerParameters],
    directions: int,
    dtype: torch.dtype,
) -> list[LayerParameters] | None:
    """The parameters in another dtype, by one kernel, where they lie so; or None."""
    _, _, _, *weights = flat(x, initial, parameters)
    form = _sizes_of(initial, parameters, directions).form(x.shape[-1], weights[0])
    cast = cast_as_they_lie(form, weights, dtype)
    if cast is None:
        return None
    left = iter(cast)
    return [
        layer._replace(**{name: next(left) for name in FIELDS if getattr(layer, name) is not None})
        for layer in parameters
    ]


def run_layers(
    x: Tensor,
    initial: States,
    parameters: Sequence[LayerParameters],
    directions: int,
    batch_sizes: Sequence[int],
) -> tuple[Tensor, Tensor, Tensor]:
    """Output, h_n and c_n of layers without anything between them."""
    tensors = [value.contiguous() for value in flat(x, initial, parameters)]
    sizes = _sizes_of(initial, parameters, directions, batch_sizes)
    if torch.is_grad_enabled() and any_requires_grad(tensors):
        return _Stack.apply(sizes, *tensors)  # type: ignore[return-value]
    output, h_n, c_n, *_ = _run(sizes, tensors, trains=False)
    return output, h_n, c_n


def _run(sizes: _Sizes, tensors: Sequence[Tensor], trains: bool) -> tuple[Tensor, ...]:
    """Output, h_n, c_n, cuDNN's reserve, and the weights in its own order."""
    x, h_0, c_0, *weights = tensors
    buffer = in_order(sizes.form(x.shape[-1], weights[0]), weights)
    return _forward(x, weights, len(sizes.names), buffer, h_0, c_0, *sizes.arguments(trains))


class _Stack(torch.autograd.Function):
    """cuDNN's layers, with its own backward pass, and with the scans' where that is recorded."""

    @staticmethod
    def forward(ctx: Any, sizes: _Sizes, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Output, h_n and c_n."""
        output, h_n, c_n, reserve, buffer = _run(sizes, tensors, trains=True)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors, output, reserve, buffer)
        ctx.sizes = sizes
        return output, h_n, c_n

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor | None) -> tuple[Tensor | None, ...]:
        """The gradients of the input, the states and each parameter."""
        *tensors, output, reserve, buffer = ctx.saved_tensors
        needs = ctx.needs_input_grad[1:]
        if all(d is None for d in cotangents):
            return (None,) * (1 + len(tensors))
        with torch.autocast(output.device.type, enabled=False):
            if torch.is_grad_enabled():
                return None, *_recorded(ctx.sizes, tensors, needs, cotangents)
            x, h_0, c_0, *weights = tensors
            if _keeps_graph():
                reserve = reserve.clone()  # cuDNN writes into it
            d_x, d_h, d_c, d_weights = _backward(
                x,
                weights,
                len(ctx.sizes.names),
                buffer,
                h_0,
                c_0,
                output,
                *(None if d is None else d.contiguous() for d in cotangents),
                *ctx.sizes.arguments(trains=True),
                reserve,
                [*needs[:3], any(needs[3:])],
            )
        found = (d_x, d_h, d_c, *(d_weights or [None] * len(weights)))
        return None, *(d if need else None for d, need in zip(found, needs, strict=True))


def _recorded(
    sizes: _Sizes,
    tensors: Sequence[Tensor],
    needs: Sequence[bool],
    cotangents: Sequence[Tensor | None],
) -> list[Tensor | None]:
    """The gradients as functions of the tensors and of the cotangents."""
    given = [(d, place) for place, d in enumerate(cotangents) if d is not None]
    outputs = sizes.scanned(tensors)
    wanted = [tensor for tensor, need in zip(tensors, needs, strict=True) if need]
    found = iter(
        torch.autograd.grad(
            [outputs[place] for _, place in given],
            wanted,
            [d for d, _ in given],
            create_graph=True,
            allow_unused=True,
        )
    )
    return [next(found) if need else None for need in needs]


def _keeps_graph() -> bool:
    """Whether the backward pass under way may be run again; yes where PyTorch does not tell."""
    autograd = torch._C._autograd  # type: ignore[reportAttributeAccessIssue]
    tell = getattr(autograd, "_get_current_graph_task_keep_graph", None)
    return True if tell is None else tell()
