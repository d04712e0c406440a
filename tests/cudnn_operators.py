"""A stand-in for cuDNN's operators: PyTorch's own LSTM on the CPU.

As with cuDNN the matrices of all layers lie before all biases, and a layer without biases has
zeros in their place. (Which order it is else is for nobody to know.)
"""

from typing import Any

import pytest
import torch
from torch import Tensor

import fastlstm
from fastlstm.nn import cudnn_layers, cudnn_weights

kept: list[tuple[list[Tensor], tuple[Tensor, ...]]] = []
flattened: list[int] = []
"""Of each call of `flatten` how many weights it copied."""


KINDS = [
    {},
    {"bias": False},
    {"num_layers": 3, "bidirectional": True},
    {"num_layers": 2, "proj_size": 4, "bidirectional": True},
    {"num_layers": 2, "proj_size": 4, "bias": False},
]
"""Options of layers that cuDNN serves."""


def pretend(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Have the CPU look like a GPU with cuDNN; which of the two operators were called."""
    called: list[str] = []

    def counted(name: str, function: Any) -> Any:
        def call(*arguments: Any) -> Any:
            called.append(name)
            return function(*arguments)

        return call

    torch.use_deterministic_algorithms(False)
    kept.clear()
    flattened.clear()
    monkeypatch.setattr(torch, "cudnn_is_acceptable", lambda x: True)
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 91_300)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr(cudnn_weights, "_orders", {})
    monkeypatch.setattr(cudnn_weights, "_moved", {})
    monkeypatch.setattr(cudnn_weights, "_flatten", flatten)
    monkeypatch.setattr(cudnn_layers, "_forward", counted("forward", forward))
    monkeypatch.setattr(cudnn_layers, "_backward", counted("backward", backward))
    return called


def both(**options: Any) -> tuple[fastlstm.LSTM, torch.nn.LSTM, Tensor]:
    """Our layer, PyTorch's with the same weights, and an input."""
    expected = torch.nn.LSTM(3, 5, dtype=torch.float64, **options)
    layer = fastlstm.LSTM(3, 5, dtype=torch.float64, **options)
    layer.load_state_dict(expected.state_dict())
    return layer, expected, torch.randn(4, 2, 3, dtype=torch.float64, requires_grad=True)


def in_order(weights: list[Tensor], stride: int) -> tuple[Tensor, list[Tensor]]:
    """All weights as one tensor, and each as a view of it."""
    matrices = [place for place, value in enumerate(weights) if value.dim() == 2]
    biases = [place for place, value in enumerate(weights) if value.dim() == 1]
    zeros = 0 if biases else 2 * weights[0].shape[0] * (len(weights) // stride)
    pieces = [weights[place].flatten() for place in matrices + biases]
    packed = torch.cat([*pieces, weights[0].new_zeros(zeros)])
    views = packed.split([*(piece.numel() for piece in pieces), zeros])
    return packed, [
        views[(matrices + biases).index(place)].view_as(value)
        for place, value in enumerate(weights)
    ]


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
    flattened.append(len(weights))
    packed, views = in_order(weights, stride)
    for value, view in zip(weights, views, strict=True):
        value.set_(view)
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
    assert torch.equal(packed, in_order(weights, stride)[0])
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
    assert torch.equal(packed, in_order(weights, stride)[0])
    inputs, outputs = kept[int(reserve)]
    reserve.fill_(-1)
    d = [
        torch.zeros_like(o) if g is None else g
        for o, g in zip(outputs, (d_output, d_h, d_c), strict=True)
    ]
    d_x, d_h_0, d_c_0, *d_weights = torch.autograd.grad(outputs, inputs, d, retain_graph=True)
    found = (d_x, d_h_0, d_c_0, d_weights)
    return tuple(value if need else None for value, need in zip(found, mask, strict=True))
