"""Pieces of a sequence recorded as CUDA graphs, so that Python launches one thing, not hundreds.

A graph reads and writes memory of its own: what a piece is given is copied in, and the caller
copies out what it finds. That costs one more pass over each of these tensors; each of the launches
that are saved costs Python several times as long as the GPU. A piece of a form that was not seen
before is run as it is, the second is recorded, and all that follow are replayed.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import suppress
from threading import Lock
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fastlstm.ops.triton_launch import allows_tf32

Tensors = dict[str, Tensor]
Function = Callable[[Tensors], Tensors]

LONGEST = 32
"""Steps of a piece: its launch and copies are small beside them, and it needs little memory."""

_SHORTEST = 8  # steps of a sequence that is worth recording
_MOST = 64  # graphs that are kept, each with the memory of what it is given and what it finds

CUDAGRAPH_UNSAFE = getattr(torch.Tag, "cudagraph_unsafe", None)
"""Tells a compiler to leave an operator out of its own graphs, in which ours cannot be recorded."""

LOCK = Lock()
"""Held from the first piece of a sequence to the last, as the graphs' memory is everybody's."""


def are_worthwhile(tensor: Tensor, steps: int) -> bool:
    """Whether a sequence of so many steps on this tensor's device is to go by pieces.

    Not within a graph that the user records: that one holds all launches anyway.
    """
    if not tensor.is_cuda or steps < _SHORTEST or CUDAGRAPH_UNSAFE is None:
        return False
    return not torch.cuda.is_current_stream_capturing()


def pieces(steps: int, every: int = 0, reverse: bool = False) -> Iterator[slice]:
    """The pieces of a sequence in the order of its scan: of `LONGEST` steps, or a power of two.

    Args:
        steps: of the sequence.
        every: no piece goes across a multiple of this, if it is not 0.
        reverse: whether the scan goes from the last step to the first.
    """
    found, start = [], 0
    while start < steps:
        left = min(steps, (start // every + 1) * every if every else steps) - start
        length = min(LONGEST, 1 << (left.bit_length() - 1))
        found.append(slice(start, start + length))
        start += length
    return reversed(found) if reverse else iter(found)


class Pieces:
    """One function over the pieces of one sequence.

    Args:
        function: what a piece runs; all that it is given is in its argument, by names.
        key: what the function depends on beside that.
        constants: what is the same for all pieces.
    """

    def __init__(self, function: Function, key: Hashable, constants: Tensors) -> None:
        self._function = function
        self._key = (key, _numerics())
        self._constants = constants
        self._loaded: set[int] = set()

    def run(self, varying: Tensors) -> Tensors:
        """What the function returns; it is valid until the next piece is run."""
        given = {**self._constants, **varying}
        key = (*self._key, *((name, _form(value)) for name, value in given.items()))
        if key not in _graphs:
            _remember(key, None)
            return self._function(given)
        graph = _graphs[key]
        if graph is None:
            graph = Graph(self._function, given)
        elif id(graph) in self._loaded:
            graph.load(varying)
        else:
            graph.load(given)
        self._loaded.add(id(graph))
        _remember(key, graph)
        graph.replay()
        return graph.found


class Graph:
    """A function that was recorded on the current stream's device, with the memory it works in."""

    def __init__(self, function: Function, given: Tensors) -> None:
        # What inference mode makes could not be written to outside of it, where this is used too.
        with torch.inference_mode(False), torch.no_grad():
            self._make(function, given)

    def _make(self, function: Function, given: Tensors) -> None:
        self._given = {
            name: torch.empty_like(value, memory_format=torch.contiguous_format)
            for name, value in given.items()
        }
        self.load(given)
        self._graph = torch.cuda.CUDAGraph()
        current = torch.cuda.current_stream()
        aside = _aside(current)
        aside.stream.wait_stream(current)
        with torch.cuda.stream(aside.stream):
            function(self._given)  # compiles what has to be, which may not happen in a recording
            self.found = self._record(function, aside.pool)
        current.wait_stream(aside.stream)

    def _record(self, function: Function, pool: Any) -> Tensors:
        # Other threads may go on with what a recording forbids. (`torch.cuda.graph` would wait for
        # the device, and empty the cache of its memory.)
        self._graph.capture_begin(pool, capture_error_mode="thread_local")
        try:
            found = function(self._given)
        except BaseException:
            with suppress(RuntimeError):  # the recording is as broken as the function
                self._graph.capture_end()
            raise
        self._graph.capture_end()
        return found

    def load(self, given: Tensors) -> None:
        """Copy tensors to where the graph reads them."""
        places = [self._given[name] for name in given]
        torch._foreach_copy_(places, list(given.values()))  # type: ignore[reportPrivateImportUsage]

    def replay(self) -> None:
        """Run it on what was loaded last."""
        self._graph.replay()


_graphs: OrderedDict[Hashable, Graph | None] = OrderedDict()
_asides: dict[tuple[int, int], _Aside] = {}


class _Aside(NamedTuple):
    """Where the graphs of a stream are recorded.

    They are replayed one after another, so they share memory: that of the pool, but for what each
    of them has found, and that which cuBLAS keeps for a stream, 32 MiB on an H100. Those of
    another stream may run beside them and share nothing.
    """

    stream: torch.cuda.Stream
    pool: Any


def _aside(current: torch.cuda.Stream) -> _Aside:
    key = (current.device_index, current.cuda_stream)
    if key not in _asides:
        stream = torch.cuda.Stream(current.device)
        _asides[key] = _Aside(stream, torch.cuda.graph_pool_handle())
    return _asides[key]


def _remember(key: Hashable, graph: Graph | None) -> None:
    _graphs[key] = graph
    _graphs.move_to_end(key)
    while len(_graphs) > _MOST:
        _graphs.popitem(last=False)


def _form(tensor: Tensor) -> tuple[Any, ...]:
    return tensor.shape, tensor.dtype, tensor.device


def _numerics() -> tuple[Any, ...]:
    """The stream, and the settings that products are made by."""
    products = torch.backends.cuda.matmul
    return (
        torch.cuda.current_stream().cuda_stream,
        allows_tf32(),
        products.allow_fp16_reduced_precision_reduction,
        products.allow_bf16_reduced_precision_reduction,
        getattr(products, "allow_fp16_accumulation", False),  # from PyTorch 2.7 on
    )
