"""What a comparison holds: implementations, with what they are to compute."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from fastlstm.bench.problem import Problem, Results, forward_backward, layer_results

SEED = 0
"""Of the masks that dropout and zoneout draw, where two results are compared."""


class Contender(NamedTuple):
    """One implementation, ready to run."""

    call: Callable[[], object]  # what is timed
    results: Callable[[], Results]  # what it computes
    expected: Callable[[], Results]  # what it should compute, in float64
    rounded: Callable[[], Results] | None = None  # what the plain equations do in its precision


class Entry(NamedTuple):
    """A contender by name, made when its turn comes."""

    name: str
    make: Callable[[], Contender]  # may raise UnavailableError


def layer_contender(
    layer: torch.nn.Module, problem: Problem, expected: Callable[[], Results], **options: Any
) -> Contender:
    """A layer, of PyTorch or of this library, that holds its parameters already.

    The options are those of its ``forward``: ``lengths``, ``reset``.
    """
    input, cotangent, training = problem.input, problem.cotangent, problem.case.training
    layer.train(training)

    def infer() -> object:
        with torch.inference_mode():
            return layer(input, **options)

    def train() -> object:
        return forward_backward(layer, input, cotangent, **options)

    return Contender(
        train if training else infer,
        lambda: seeded(lambda: layer_results(layer, input, cotangent, training, **options)),
        expected,
    )


def seeded(call: Callable[[], Results]) -> Results:
    """The results with masks that are the same each time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        return call()
