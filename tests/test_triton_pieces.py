"""Sequences by pieces that are recorded and replayed, on a stand-in for CUDA graphs."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import ClassVar

import pytest
import torch

from cases import EVERYTHING, make_arguments
from fastlstm.ops import cuda_graphs
from fastlstm.ops.cuda_graphs import Function, Pieces, Tensors, pieces
from fastlstm.ops.triton_launch import allows_tf32
from test_engine_bfloat16 import assert_near_float32
from test_scan import check
from test_triton_step import KINDS, needs_interpreter


class Graph:
    """Runs the function again where a CUDA graph is replayed: from and into the same memory."""

    made: ClassVar[list["Graph"]] = []

    def __init__(self, function: Function, given: Tensors) -> None:
        self._given = {name: torch.empty_like(value) for name, value in given.items()}
        self.load(given)
        self._function = function
        self.found = {name: value.clone() for name, value in function(self._given).items()}
        self.replays = 0
        self.device = next(iter(given.values())).device
        sizes = (sum(value.nbytes for value in values.values()) for values in (given, self.found))
        self.holding = cuda_graphs.Holding(*sizes, cuda_graphs._aside())
        Graph.made.append(self)

    def load(self, given: Tensors) -> None:
        for name, value in given.items():
            assert self._given[name].shape == value.shape
            self._given[name].copy_(value)

    def replay(self) -> None:
        self.replays += 1
        for name, value in self._function(self._given).items():
            self.found[name].copy_(value)


class Pool:
    """Stands for the memory that the graphs of a stream share."""

    reserved = 0


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Graph]]:
    """Have every sequence on the CPU go by pieces of two steps or one."""
    Graph.made.clear()
    cuda_graphs._forms.clear()
    aside = Pool()
    monkeypatch.setattr(cuda_graphs, "Graph", Graph)
    monkeypatch.setattr(cuda_graphs, "LONGEST", 2)
    monkeypatch.setattr(cuda_graphs, "are_worthwhile", lambda tensor, steps: True)
    monkeypatch.setattr(cuda_graphs, "_numerics", lambda: ())
    monkeypatch.setattr(cuda_graphs, "_aside", lambda: aside)
    monkeypatch.setattr(cuda_graphs, "_limit", lambda device: 1 << 40)
    yield Graph.made
    cuda_graphs._forms.clear()


@needs_interpreter
@pytest.mark.parametrize("save_every", [1, 3])
@pytest.mark.parametrize(
    "switches",
    [*KINDS, tuple(one for one in EVERYTHING if one != "reverse"), ("reset", "recurrent_mask")],
    ids="+".join,
)
def test_pieces_are_the_whole(
    switches: tuple[str, ...], save_every: int, recorded: list[Graph]
) -> None:
    check(switches, save_every, steps=7, rows=4, hidden=5, backend="triton-step")
    assert len(recorded) >= 2 and any(graph.replays > 1 for graph in recorded)


@needs_interpreter
@pytest.mark.parametrize("switches", [(), EVERYTHING], ids="+".join)
@pytest.mark.parametrize("save_every", [1, 3])
def test_bfloat16_by_pieces(
    switches: tuple[str, ...], save_every: int, recorded: list[Graph]
) -> None:
    arguments = make_arguments(
        switches, steps=7, rows=4, hidden=33, dtype=torch.bfloat16, save_every=save_every,
        backend="triton-step",
    )  # fmt: skip
    assert_near_float32(arguments)
    assert len(recorded) >= 2


@needs_interpreter
def test_a_second_sequence_reads_its_own_tensors(recorded: list[Graph]) -> None:
    for _ in range(3):
        check(("lengths",), steps=7, rows=4, hidden=5, backend="triton-step")
    assert len(recorded) == 4  # of two steps and of one, forward and backward


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("every", [0, 5, 33])
def test_pieces_cover_a_sequence(every: int, reverse: bool) -> None:
    for steps in (1, 2, 31, 32, 33, 100):
        found = list(pieces(steps, every, reverse))
        if reverse:
            found.reverse()
        assert [t for piece in found for t in range(steps)[piece]] == list(range(steps))
        for piece in found:
            length = piece.stop - piece.start
            assert length <= 32 and length & (length - 1) == 0
            assert not every or piece.start // every == (piece.stop - 1) // every
    assert list(pieces(100, 0, True))[-1] == slice(0, 32)


def test_constants_are_loaded_once_a_sequence(recorded: list[Graph]) -> None:
    def product(given: Tensors) -> Tensors:
        return {"found": given["constant"] * given["varying"]}

    for constant in (2.0, 3.0):
        sequence = Pieces(product, "product", {"constant": torch.tensor([constant])})
        for varying in (5.0, 7.0, 11.0):
            found = sequence.run({"varying": torch.tensor([varying])})
            assert found["found"].item() == constant * varying
    (graph,) = recorded
    assert graph.replays == 5


def run_of(size: int) -> bool:
    """Run a piece of so many bytes given, and as many found; whether it was by a graph."""
    before = sum(graph.replays for graph in Graph.made)
    x = torch.arange(size, dtype=torch.int8)
    found = Pieces(lambda given: {"found": given["x"] + 1}, "more", {}).run({"x": x})["found"]
    assert torch.equal(found, x + 1)
    return sum(graph.replays for graph in Graph.made) > before


def sizes_kept() -> list[int]:
    """Of the graphs that there are, the one that was used last at the end."""
    graphs = [form.graph for form in cuda_graphs._forms.values()]
    return [graph.holding.given for graph in graphs if graph is not None]


@pytest.fixture
def limited(recorded: list[Graph], monkeypatch: pytest.MonkeyPatch) -> list[Graph]:
    """Have room for graphs of a hundred bytes."""
    monkeypatch.setattr(cuda_graphs, "_OF_DRIVER", 10)
    monkeypatch.setattr(cuda_graphs, "_limit", lambda device: 100)
    return recorded


def test_the_least_recently_used_graph_goes_first(limited: list[Graph]) -> None:
    for size in (10, 10, 11, 11, 12, 12, 10):  # 30 to 34 bytes each
        run_of(size)
    assert sizes_kept() == [11, 12, 10]
    assert [run_of(13) for _ in range(4)] == [False, False, False, True]
    assert sizes_kept() == [12, 10, 13]
    assert [run_of(11) for _ in range(4)] == [False, False, False, True]
    assert sizes_kept() == [10, 13, 11]


def test_as_many_graphs_go_as_have_to(limited: list[Graph]) -> None:
    for size in (10, 10, 11, 11, 12, 12, 20, 20, 20, 20):  # 30, 32, 34 and 50 bytes
        run_of(size)
    assert sizes_kept() == [12, 20]


def test_forms_that_have_no_room_together_are_not_recorded_in_a_circle(
    limited: list[Graph],
) -> None:
    for _ in range(20):
        served = [run_of(size) for size in (10, 11, 12, 13)]
    assert served == [True, True, True, False]
    assert len(limited) == 3


def test_forms_of_long_runs_in_turn_are_recorded(limited: list[Graph]) -> None:
    for size in (40, 41, 40):
        served = [run_of(size) for _ in range(20)]
        assert served[4:] == [True] * 16  # one has room at a time


def test_what_is_too_large_alone_is_never_recorded(limited: list[Graph]) -> None:
    run_of(10), run_of(10)
    assert not any([run_of(46) for _ in range(10)])
    assert sizes_kept() == [10]


def test_the_memory_of_a_pool_counts(limited: list[Graph], monkeypatch: pytest.MonkeyPatch) -> None:
    run_of(10), run_of(10)
    pool = limited[0].holding.aside
    monkeypatch.setattr(pool, "reserved", 51, raising=False)
    # 10 given, 14 given, 10 of the driver for each, and 51 for what they find.
    assert [run_of(14) for _ in range(2)] == [False, True]
    # With the last of its graphs a pool ends.
    monkeypatch.setattr(pool, "reserved", 95)
    assert [run_of(11) for _ in range(4)] == [False, False, False, True]
    assert sizes_kept() == [11]


def test_graphs_of_another_device_are_left_alone(limited: list[Graph]) -> None:
    run_of(30), run_of(30)
    limited[0].device = torch.device("cuda", 1)
    assert [run_of(31) for _ in range(2)] == [False, True]
    assert sizes_kept() == [30, 31]


def test_without_memory_for_a_graph_a_piece_runs_as_it_is(
    recorded: list[Graph], monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def fails(function: Function, given: Tensors) -> None:
        tried.append(given)
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(cuda_graphs, "Graph", fails)
    assert not any([run_of(10) for _ in range(5)])
    assert len(tried) == 1


def test_only_so_many_forms_are_remembered(
    recorded: list[Graph], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cuda_graphs, "_MOST_FORMS", 3)
    assert [run_of(size) for size in (1, 1, 2, 3, 4, 1)] == [False, True, *[False] * 4]
    assert len(cuda_graphs._forms) == 3


class Cuda:
    """What of ``torch.cuda`` a recording asks for; streams by their numbers."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.current = 0
        self.made = 100
        self.recorded_on: list[int] = []
        self.pools: list[object] = []
        self.reserved = 0
        for name in (
            "CUDAGraph", "Stream", "current_stream", "stream", "graph_pool_handle",
            "memory_reserved",
        ):  # fmt: skip
            monkeypatch.setattr(torch.cuda, name, getattr(self, name))
        monkeypatch.setattr(cuda_graphs, "_asides", {})

    def CUDAGraph(self) -> SimpleNamespace:
        def begin(pool: object, capture_error_mode: str) -> None:
            assert capture_error_mode == "thread_local"
            self.pools.append(pool)
            self.recorded_on.append(self.current)

        return SimpleNamespace(capture_begin=begin, capture_end=lambda: None, replay=lambda: None)

    def Stream(self, device: object) -> SimpleNamespace:
        self.made += 1
        return self._named(self.made)

    def graph_pool_handle(self) -> object:
        return object()

    def memory_reserved(self, device: object) -> int:
        return self.reserved

    def current_stream(self) -> SimpleNamespace:
        return self._named(self.current)

    @contextmanager
    def stream(self, stream: SimpleNamespace) -> Iterator[None]:
        before, self.current = self.current, stream.cuda_stream
        try:
            yield
        finally:
            self.current = before

    def _named(self, number: int) -> SimpleNamespace:
        return SimpleNamespace(
            cuda_stream=number, device_index=0, device=None, wait_stream=lambda other: None
        )


def twice(given: Tensors) -> Tensors:
    return {"found": given["x"] * 2}


@pytest.mark.parametrize("modes", [(True, False), (False, True)], ids=str)
def test_inference_mode_makes_graphs_for_everybody(
    modes: tuple[bool, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    Cuda(monkeypatch)
    with torch.inference_mode(modes[0]):
        graph = cuda_graphs.Graph(twice, {"x": torch.ones(3)})
    with torch.inference_mode(modes[1]):
        graph.load({"x": torch.ones(3)})
        graph.replay()
    assert not graph.found["found"].is_inference()


def test_the_graphs_of_a_stream_are_recorded_on_one_other(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = Cuda(monkeypatch)
    graphs = []
    for cuda.current in (0, 7, 0, 7):
        graphs.append(cuda_graphs.Graph(twice, {"x": torch.ones(3)}))
    assert cuda.recorded_on == [101, 102, 101, 102]
    first, second = cuda.pools[:2]
    assert first is not second and cuda.pools[2:] == [first, second]


def test_a_pool_ends_with_the_last_of_its_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = Cuda(monkeypatch)

    def grows(given: Tensors) -> Tensors:
        cuda.reserved += 1_000
        return twice(given)

    graph = cuda_graphs.Graph(grows, {"x": torch.ones(3)})
    other = cuda_graphs.Graph(grows, {"x": torch.ones(3)})
    assert graph.holding[:2] == (12, 12)
    assert graph.holding.aside.reserved == 2_000  # of the recordings; before, each had run once
    del graph
    again = cuda_graphs.Graph(grows, {"x": torch.ones(3)})
    del other, again
    last = cuda_graphs.Graph(grows, {"x": torch.ones(3)})
    assert last.holding.aside.reserved == 1_000
    first, *others, new = cuda.pools
    assert others == [first, first] and new is not first


def test_a_recording_that_fails_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda, calls = Cuda(monkeypatch), []

    def fails_the_second_time(given: Tensors) -> Tensors:
        calls.append(cuda.current)
        if len(calls) == 2:
            raise ValueError("no memory")
        return twice(given)

    with pytest.raises(ValueError, match="no memory"):
        cuda_graphs.Graph(fails_the_second_time, {"x": torch.ones(3)})
    assert calls == [0, 101]  # nothing but the recording goes to the other stream


def test_what_is_worthwhile() -> None:
    assert not cuda_graphs.are_worthwhile(torch.zeros(1), 100)


def test_the_old_and_the_new_way_to_allow_tf32(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = SimpleNamespace(allow_tf32=True)
    monkeypatch.setattr(torch.backends.cuda, "matmul", settings)
    assert allows_tf32()
    settings.fp32_precision = "ieee"
    assert not allows_tf32()
    settings.fp32_precision = "tf32"
    assert allows_tf32()
