"""``fastlstm.LSTM`` as a contender."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from fastlstm.bench.compare import Comparison, measure
from fastlstm.bench.contender import SEED, Contender, Entry, layer_contender, seeded
from fastlstm.bench.peers import Peer
from fastlstm.bench.problem import DTYPES, Case, Problem, Results, layer_results
from fastlstm.nn import LSTM
from fastlstm.ops.backends import backend

SWITCH_VALUES: Mapping[str, Any] = {
    "peephole": True,
    "layer_norm": True,
    "coupled_gates": True,
    "recurrent_dropout": 0.3,
    "weight_dropout": 0.3,
    "locked_dropout": 0.3,
    "zoneout": (0.1, 0.05),
    "cell_clip": 0.2,  # so that some units are clipped, as they start near zero
    "residual": True,
    "forget_bias": 1.0,
    "checkpoint_every": 10,
}
"""A value with which each switch does its work. ``proj_size`` is one more: half the hidden size."""


def switch_names() -> tuple[str, ...]:
    """Every switch that can be turned on by name."""
    return ("proj_size", *SWITCH_VALUES)


def switch_arguments(names: Sequence[str], hidden_size: int) -> dict[str, Any]:
    """The keyword arguments of ``fastlstm.LSTM`` that turn these switches on."""
    values = {**SWITCH_VALUES, "proj_size": max(1, hidden_size // 2)}
    return {name: values[name] for name in names}


def compare_layer(
    problem: Problem,
    peers: Sequence[Peer],
    threads: int,
    pairs: int,
    switches: Mapping[str, Any] | None = None,
) -> Comparison:
    """Measure ``fastlstm.LSTM`` beside its peers.

    Args:
        problem: the LSTM and the batch.
        peers: from ``PEERS``. They run the LSTM without switches, having none.
        threads: how many the peers are to use; torch's are set by the caller.
        pairs: how many pairs to time with each peer.
        switches: keyword arguments of ``fastlstm.LSTM``.
    """
    expected = functools.cache(problem.expected)
    entries = [
        Entry(peer.name, functools.partial(peer.contender, problem, threads, expected))
        for peer in peers
    ]
    own = own_entry(problem, switches, None if switches else expected)
    return measure(own, entries, problem.case.dtype, pairs)


def own_entry(
    problem: Problem,
    switches: Mapping[str, Any] | None = None,
    expected: Callable[[], Results] | None = None,
    **options: Any,
) -> Entry:
    """``fastlstm.LSTM`` with these switches.

    Args:
        problem: the LSTM and the batch.
        switches: keyword arguments of ``fastlstm.LSTM``; with any, its parameters are new ones.
        expected: the right results; those of the reference back end in float64 if None.
        **options: of the layer's ``forward``.
    """

    def make() -> Contender:
        layer = own_layer(problem, switches)
        fitted = _fitted(problem, layer)
        if expected is not None:
            return layer_contender(layer, fitted, expected, **options)
        right, rounded = references(fitted, layer, switches, **options)
        return layer_contender(layer, fitted, right, **options)._replace(rounded=rounded)

    return Entry("fastlstm", make)


def own_layer(problem: Problem, switches: Mapping[str, Any] | None = None) -> LSTM:
    """The layer: with the problem's parameters, or where there are switches with new ones."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        layer = _layer(problem.case, torch.float32, switches).to(DTYPES[problem.case.dtype])
    if not switches:
        layer.load_state_dict(problem.parameters)
    return layer


def references(
    problem: Problem, layer: LSTM, switches: Mapping[str, Any] | None = None, **options: Any
) -> tuple[Callable[[], Results], Callable[[], Results]]:
    """What a layer should compute, in float64, and what its equations do in its own precision.

    Both are by the reference back end, on the layer's parameters.
    """

    def results(dtype: torch.dtype) -> Results:
        training = problem.case.training
        right = _layer(problem.case, dtype, switches).train(training)
        right.load_state_dict(layer.state_dict())
        input, cotangent = problem.input.to(dtype), _fitted(problem, layer).cotangent.to(dtype)
        with backend("reference"):
            return seeded(lambda: layer_results(right, input, cotangent, training, **options))

    own = DTYPES[problem.case.dtype]
    return functools.partial(results, torch.float64), functools.partial(results, own)


def _layer(case: Case, dtype: torch.dtype, switches: Mapping[str, Any] | None) -> LSTM:
    return LSTM(
        case.input_size,
        case.hidden_size,
        case.layers,
        bidirectional=case.bidirectional,
        dtype=dtype,
        **(switches or {}),
    )


def _fitted(problem: Problem, layer: LSTM) -> Problem:
    """The problem with a gradient as wide as the layer's output: a projection's is narrower."""
    width = (layer.proj_size or layer.hidden_size) * problem.case.directions
    return problem._replace(cotangent=problem.cotangent[..., :width].contiguous())
