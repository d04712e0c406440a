"""Pieces of a sequence recorded as CUDA graphs, so that Python launches one thing, not hundreds.

A graph reads and writes memory of its own: what a piece is given is copied in, and the caller
copies out what it finds. That costs one more pass over each of these tensors; each of the launches
that are saved costs Python several times as long as the GPU. A piece of a form that was not seen
before is run as it is, the second is recorded, and all that follow are replayed.

What all graphs of a device hold has a limit. Where they would hold more, the least recently used
go, but none that is still in use: forms that take turns and have no room together would be recorded
again at each turn, which takes longer than to run them as they are. So some stay, and others have
no graph.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import suppress
from itertools import count
from threading import Lock
from typing import Any, NamedTuple
from weakref import WeakSet

import torch
from torch import Tensor

from fastlstm.ops.triton_launch import allows_tf32

Tensors = dict[str, Tensor]
Function = Callable[[Tensors], Tensors]

LONGEST = 32
"""Steps of a piece: its launch and copies are small beside them, and it needs little memory."""

_SHORTEST = 8  # steps of a sequence that is worth recording

_SHARE = 16
"""Graphs hold one part in so many of a device's memory at most: 5 GB of 80.

A training has graphs for the lengths of its pieces, up to six, in each direction, forward and back,
that all layers of a size share. With 64 rows and 1,024 units in float32 those of a length of 512,
in both directions, hold 0.4 GB, and those of a length of 511, with all six, 1.3 GB.
"""

_OF_DRIVER = 8 << 20
"""What the driver keeps for a graph, some 64 KiB a kernel; estimated, as it does not tell."""

_PATIENCE = 4
"""So often is a form met before graphs go for its own, none of which is used in the meantime.

To record takes about as long as so many replays save. So, whatever the order in which forms are
met, all of it takes less than twice as long as without graphs.
"""

_MOST_FORMS = 1_024  # that are remembered, with or without a graph

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
        form = _meet((*self._key, *((name, _form(value)) for name, value in given.items())))
        if form.graph is None:
            form.graph = self._recorded(form, given)
        elif id(form.graph) in self._loaded:
            form.graph.load(varying)
        else:
            form.graph.load(given)
        if form.graph is None:
            found = self._function(given)
            form.found = _bytes(found)
            return found
        self._loaded.add(id(form.graph))
        form.graph.replay()
        return form.graph.found

    def _recorded(self, form: _Form, given: Tensors) -> Graph | None:
        """A graph, loaded; None for a form that is new, and where there is no memory for it."""
        if form.found is None or form.is_refused or not _make_room(form, given):
            return None
        try:
            return Graph(self._function, given)
        except torch.OutOfMemoryError:
            # PyTorch gives back nothing that it has cached while a graph is recorded.
            form.is_refused = True
            return None


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
        function(self._given)  # compiles and loads what has to be, which a recording may not do
        aside, current = _aside(), torch.cuda.current_stream()
        self._graph = torch.cuda.CUDAGraph()
        pool = aside.pool()
        aside.graphs.add(self)
        before = torch.cuda.memory_reserved(current.device)
        with torch.cuda.stream(aside.stream):
            self.found = self._record(function, pool)
        aside.reserved += torch.cuda.memory_reserved(current.device) - before
        self.device = current.device
        self.holding = Holding(_bytes(given), _bytes(self.found), aside)

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


class _Form:
    """A form of piece: when it was met, and its graph, if it has one."""

    def __init__(self) -> None:
        self.met: deque[int] = deque(maxlen=_PATIENCE)  # the last times, by `_clock`
        self.found: int | None = None  # the bytes of what it finds, once it was run
        self.graph: Graph | None = None
        self.is_refused = False

    def has_waited_for(self, other: _Form) -> bool:
        """Whether it was met often enough since another one was."""
        return len(self.met) == _PATIENCE and other.met[-1] < self.met[0]


_forms: OrderedDict[Hashable, _Form] = OrderedDict()  # the one that was met last comes last
_clock = count()


def _meet(key: Hashable) -> _Form:
    """The form of that key; it is met now."""
    form = _forms.setdefault(key, _Form())
    form.met.append(next(_clock))
    _forms.move_to_end(key)
    while len(_forms) > _MOST_FORMS:
        _forms.popitem(last=False)
    return form


class Holding(NamedTuple):
    """The bytes of a graph."""

    given: int
    found: int
    aside: _Aside  # whose pool has what is found


def _make_room(form: _Form, given: Tensors) -> bool:
    """Whether a graph of a form has room; others may have gone for it.

    Their last replays may still run. What a graph was given goes back to the allocator, for work
    that is queued on the same stream after that; what it has found to its pool, for graphs that are
    replayed there after that, or with the last of these to the device, which waits; and the driver
    keeps a graph that still runs until it has.
    """
    assert form.found is not None
    wanted = Holding(_bytes(given), form.found, _aside())
    device = next(iter(given.values())).device
    recorded = [(one, one.graph) for one in _forms.values() if one.graph is not None]
    others = [(one, graph.holding) for one, graph in recorded if graph.device == device]
    gone = 0
    while _held([*(holding for _, holding in others[gone:]), wanted]) > _limit(device):
        if gone == len(others) or not form.has_waited_for(others[gone][0]):
            return False
        gone += 1
    for one, _ in others[:gone]:
        one.graph = None
    return True


def _held(holdings: Sequence[Holding]) -> int:
    """The bytes of graphs, the last of which is to be made, with those of pools that none uses."""
    of_pools: Counter[_Aside] = Counter()
    for one in holdings:
        of_pools[one.aside] += one.found
    reserved = {one.aside: one.aside.reserved for one in holdings[:-1]}  # it ends with its graphs
    in_pools = sum(max(found, reserved.get(aside, 0)) for aside, found in of_pools.items())
    return in_pools + sum(one.given + _OF_DRIVER for one in holdings)


def _limit(device: torch.device) -> int:
    return torch.cuda.get_device_properties(device).total_memory // _SHARE


class _Aside:
    """Where the graphs of a stream are recorded.

    They are replayed one after another, so they share the memory of a pool, but for what each of
    them has found. Those of another stream may run beside them and share nothing.

    Nothing but recordings goes to the stream. So what cuBLAS keeps for it, 32 MiB on an H100 for
    each thread, is of the pool as well. Some versions of PyTorch, 2.13 among them, take it back
    with any of the graphs (its issue 193402), while others still write there; then they write over
    what a graph works in or has found, which is read before another is replayed. Memory from
    outside the pool would be somebody else's by then.
    """

    def __init__(self, current: torch.cuda.Stream) -> None:
        self.stream = torch.cuda.Stream(current.device)
        self.graphs: WeakSet[Graph] = WeakSet()
        self.reserved = 0  # bytes of the pool
        self._pool: Any = None

    def pool(self) -> Any:
        """The pool for the next graph: another one where no graph of it is left.

        PyTorch has then given its memory back, and takes its handle no more.
        """
        if not self.graphs:
            self._pool, self.reserved = torch.cuda.graph_pool_handle(), 0
        return self._pool


_asides: dict[tuple[int, int], _Aside] = {}


def _aside() -> _Aside:
    """Where the graphs of the current stream are recorded."""
    current = torch.cuda.current_stream()
    key = (current.device_index, current.cuda_stream)
    if key not in _asides:
        _asides[key] = _Aside(current)
    return _asides[key]


def _bytes(tensors: Tensors) -> int:
    return sum(tensor.nbytes for tensor in tensors.values())


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
