"""What is measured: a shape with its precision and mode, and the numbers that go in."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}

Results = dict[str, Tensor]
"""What a run computed, by name: ``output``, ``h_n``, ``c_n``; ``output``, ``d_input``, ``d_…``."""


class UnavailableError(Exception):
    """A peer cannot run a case; the message says why, in a few words for a cell of a table."""


@dataclass(frozen=True)
class Case:
    """The LSTM and the batch to measure; the batch is (``steps``, ``batch``, ``input_size``)."""

    steps: int
    batch: int
    input_size: int
    hidden_size: int
    layers: int = 1
    bidirectional: bool = False
    dtype: str = "float32"  # a key of DTYPES
    training: bool = False  # forward and backward; else forward alone

    @property
    def directions(self) -> int:
        """1, or 2 where bidirectional."""
        return 2 if self.bidirectional else 1

    @property
    def mode(self) -> str:
        """``inference`` or ``training``."""
        return "training" if self.training else "inference"

    @property
    def shape(self) -> str:
        """The sizes as one word: ``100x16x256x256x1``."""
        sizes = (self.steps, self.batch, self.input_size, self.hidden_size, self.layers)
        return "x".join(map(str, sizes)) + ("-bidirectional" if self.bidirectional else "")

    def layer(self, dtype: torch.dtype) -> torch.nn.LSTM:
        """A ``torch.nn.LSTM`` of these sizes."""
        return torch.nn.LSTM(
            self.input_size,
            self.hidden_size,
            self.layers,
            bidirectional=self.bidirectional,
            dtype=dtype,
        )


class Problem(NamedTuple):
    """A case with its numbers, the same for every peer. All tensors are of the case's dtype."""

    case: Case
    parameters: dict[str, Tensor]  # named as in the `state_dict` of a `torch.nn.LSTM`
    input: Tensor  # (T, B, I)
    cotangent: Tensor  # (T, B, directions · H): the gradient of the loss by the output

    def expected(self) -> Results:
        """The results of a ``torch.nn.LSTM`` in float64 on these very numbers."""
        layer = self.case.layer(torch.float64)
        layer.load_state_dict(self.parameters)
        return layer_results(
            layer, self.input.double(), self.cotangent.double(), self.case.training
        )


def make_problem(case: Case, seed: int = 0) -> Problem:
    """Random numbers for a case. The caller's random state is left as it was."""
    dtype = DTYPES[case.dtype]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        # In float32 and then rounded, so that each precision solves nearly the same problem.
        layer = case.layer(torch.float32).to(dtype)
        input = torch.randn(case.steps, case.batch, case.input_size).to(dtype)
        width = case.directions * case.hidden_size
        cotangent = torch.randn(case.steps, case.batch, width).to(dtype)
    return Problem(case, dict(layer.state_dict()), input, cotangent)


def layer_results(
    layer: torch.nn.Module, input: Tensor, cotangent: Tensor, training: bool, **options: Any
) -> Results:
    """Run a layer once and name what it computed."""
    if not training:
        with torch.inference_mode():
            output, (h_n, c_n) = layer(input, **options)
        return {"output": output, "h_n": h_n, "c_n": c_n}
    output, gradients = forward_backward(layer, input, cotangent, **options)
    names = ["input", *(name for name, _ in layer.named_parameters())]
    return {
        "output": output.detach(),
        **{f"d_{name}": gradient for name, gradient in zip(names, gradients, strict=True)},
    }


def forward_backward(
    layer: torch.nn.Module, input: Tensor, cotangent: Tensor, **options: Any
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """The output, and the gradients of the input and of every parameter in order."""
    input = input.detach().requires_grad_()
    output, _ = layer(input, **options)
    return output, torch.autograd.grad(output, [input, *layer.parameters()], cotangent)
