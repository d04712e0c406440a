"""A stand-in for cuDNN's operators: PyTorch's own LSTM on the CPU."""

from typing import Any

import torch
from torch import Tensor

kept: list[tuple[list[Tensor], tuple[Tensor, ...]]] = []


def flatten(
    weights: list[Tensor],
    stride: int,
    features: int,
    mode: int,
    hidden: int,
    projection: int,
    layers: int,
    batch_first: bool,
    bidirectional: bool,
) -> Tensor:
    """``aten::_cudnn_rnn_flatten_weight``, which moves what it is given to its result."""
    assert (mode, batch_first) == (2, False) and weights[0].shape[1] == features
    assert len(weights) == layers * (1 + bidirectional) * stride
    packed = torch.cat([value.flatten() for value in weights])
    parts = packed.split([value.numel() for value in weights])
    for value, part in zip(weights, parts, strict=True):
        value.set_(part.view_as(value))
    return packed


def forward(
    x: Tensor,
    weights: list[Tensor],
    stride: int,
    packed: Tensor,
    h_0: Tensor,
    c_0: Tensor,
    mode: int,
    hidden: int,
    projection: int,
    layers: int,
    batch_first: bool,
    dropout: float,
    trains: bool,
    bidirectional: bool,
    batch_sizes: tuple[int, ...],
    dropout_state: None,
) -> tuple[Tensor, ...]:
    """``aten::_cudnn_rnn``: its reserve is the number of the graph that it keeps."""
    assert (mode, batch_first, dropout) == (2, False, 0.0)
    assert torch.equal(packed, torch.cat([value.flatten() for value in weights]))
    assert all(value.is_contiguous() for value in (x, h_0, c_0, *weights))
    assert len(weights) == layers * (1 + bidirectional) * stride
    assert projection == (h_0.shape[-1] if stride % 2 else 0) and hidden == c_0.shape[-1]
    inputs = [value.detach().clone().requires_grad_() for value in (x, h_0, c_0, *weights)]
    with torch.enable_grad():
        states, others = tuple(inputs[1:3]), (stride >= 4, layers, 0.0, trains, bidirectional)
        if batch_sizes:
            sizes = torch.tensor(batch_sizes)
            outputs = torch.lstm(inputs[0], sizes, states, inputs[3:], *others)
        else:
            outputs = torch.lstm(inputs[0], states, inputs[3:], *others, False)
    reserve = torch.tensor([len(kept)])
    if trains:
        kept.append((inputs, outputs))
    return (*(value.detach() for value in outputs), reserve, packed)


def backward(
    x: Tensor,
    weights: list[Tensor],
    stride: int,
    packed: Tensor,
    h_0: Tensor,
    c_0: Tensor,
    output: Tensor,
    d_output: Tensor | None,
    d_h: Tensor | None,
    d_c: Tensor | None,
    *rest: Any,
) -> tuple[Any, ...]:
    """``aten::_cudnn_rnn_backward``, which spoils the reserve as cuDNN does."""
    *_, reserve, mask = rest
    assert packed.numel() == sum(value.numel() for value in weights)
    inputs, outputs = kept[int(reserve)]
    reserve.fill_(-1)
    d = [
        torch.zeros_like(o) if g is None else g
        for o, g in zip(outputs, (d_output, d_h, d_c), strict=True)
    ]
    d_x, d_h_0, d_c_0, *d_weights = torch.autograd.grad(outputs, inputs, d, retain_graph=True)
    found = (d_x, d_h_0, d_c_0, d_weights)
    return tuple(value if need else None for value, need in zip(found, mask, strict=True))
