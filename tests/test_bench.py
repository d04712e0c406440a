"""How a comparison is made: the check, the order of the runs, what gets a speed. Never a time."""

import math
from dataclasses import replace

import pytest
import torch

import fastlstm
from fastlstm.bench import (
    PEERS,
    Case,
    Comparison,
    Run,
    alternate,
    compare,
    compare_layer,
    contender,
    disagreement,
    layer,
    make_problem,
    pinned,
    prepare,
    problem,
    timing,
)

TINY = Case(5, 3, 4, 7)


@pytest.fixture
def no_pause(monkeypatch):
    monkeypatch.setattr(timing, "_settle", lambda: None)


class Clock:
    """A clock that only the calls move."""

    def __init__(self, seconds):
        self.now, self.seconds = 0.0, seconds

    def call(self):
        self.now += self.seconds

    def perf_counter(self):
        return self.now


# Timing


def test_pairs_take_turns(no_pause):
    order = []
    ours, one, other = (Run(lambda name=name: order.append(name), 1, False) for name in "OAB")
    pairs = alternate(ours, [one, other], 3)
    assert "".join(order) == "OAOB" + "AOBO" + "OAOB"
    assert [len(found) for found in pairs] == [3, 3]


def test_a_pair_says_whose_time_is_whose(no_pause, monkeypatch):
    clock = Clock(1.0)
    monkeypatch.setattr(timing.time, "perf_counter", clock.perf_counter)
    ours = Run(clock.call, 2, True)
    peer = Run(lambda: (clock.call(), clock.call(), clock.call()), 1, False)
    assert alternate(ours, [peer], 2) == [[timing.Pair(1.0, 3.0)] * 2]


@pytest.mark.parametrize(
    ("seconds", "repetitions", "warm_up"), [(3e-4, 7, True), (4e-2, 1, True), (0.5, 1, False)]
)
def test_short_calls_are_repeated(monkeypatch, seconds, repetitions, warm_up):
    clock = Clock(seconds)
    monkeypatch.setattr(timing.time, "perf_counter", clock.perf_counter)
    assert prepare(clock.call) == Run(clock.call, repetitions, warm_up)


def test_pinned_gives_the_threads_back():
    before = torch.get_num_threads()
    with pinned(1):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before


# The check


def test_results_that_are_right_or_wrong():
    right = {"output": torch.tensor([1.0, -4.0]).double(), "d_input": torch.zeros(2).double()}
    assert disagreement(right, right, "float32") is None
    near = {**right, "output": torch.tensor([1.0, -4.0003])}
    assert disagreement(near, right, "float32") is None
    off = {**right, "output": torch.tensor([1.01, -4.0])}
    assert disagreement(off, right, "float32") == (
        "output is off by 1.0e-02, its largest value is 4.0e+00"
    )
    assert disagreement(off, right, "bfloat16") is None
    assert disagreement(off, right, "float32", rounded={**right, "output": off["output"]}) is None
    assert disagreement(off, right, "float32", rounded=right) is not None
    for bad in (torch.tensor([math.nan, -4.0]), torch.zeros(2)):
        wrong = {**right, "output": bad}
        assert disagreement(wrong, right, "bfloat16", rounded=wrong) is not None
    assert disagreement({**right, "d_input": torch.full((2,), 1e-9)}, right, "float32") is not None
    assert disagreement({**right, "output": torch.ones(1)}, right, "float32") == (
        "output has shape [1], expected [2]"
    )
    assert disagreement({"output": right["output"]}, right, "float32") == (
        "computed output, expected output, d_input"
    )


def spoil(monkeypatch, is_spoiled):
    """Have the layers for which `is_spoiled` is true compute something else."""

    def results(module, *arguments, **options):
        right = problem.layer_results(module, *arguments, **options)
        return {name: value + is_spoiled(module) for name, value in right.items()}

    monkeypatch.setattr(contender, "layer_results", results)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_what_is_right_gets_a_speed(no_pause, training, dtype):
    case = replace(TINY, dtype=dtype, training=training)
    comparison = compare_layer(make_problem(case), [PEERS["torch"]], 1, 2)
    assert (comparison.failure, comparison.pairs) == ("", 2)
    assert comparison.seconds > 0
    peer = comparison.peers["torch.nn.LSTM"]
    assert (peer.note, peer.seconds > 0, peer.ratio > 0) == ("", True, True)


def test_a_wrong_result_of_ours_is_not_timed(monkeypatch):
    spoil(monkeypatch, lambda module: isinstance(module, fastlstm.LSTM))
    for name in ("alternate", "prepare", "sample"):
        monkeypatch.setattr(compare, name, None)  # calling it would raise
    comparison = compare_layer(make_problem(TINY), [PEERS["torch"]], 1, 2)
    assert comparison.failure.startswith("FAILED: output is off by 1.0e+00")
    assert replace(comparison, failure="") == Comparison()


def test_a_wrong_result_of_a_peer_is_not_timed(monkeypatch, no_pause):
    spoil(monkeypatch, lambda module: not isinstance(module, fastlstm.LSTM))
    comparison = compare_layer(make_problem(TINY), [PEERS["torch"]], 1, 2)
    peer = comparison.peers["torch.nn.LSTM"]
    assert peer.note.startswith("FAILED: output is off by 1.0e+00")
    assert (peer.seconds, peer.ratio, comparison.failure) == (None, None, "")
    assert comparison.seconds > 0


def test_an_error_is_its_own_cells(monkeypatch, no_pause):
    def broken(*arguments):
        raise RuntimeError("no\nsuch luck")

    absent = PEERS["jax"]._replace(modules=("there_is_no_such_module",))
    peers = [PEERS["torch"]._replace(make=broken), absent]
    comparison = compare_layer(make_problem(TINY), peers, 1, 1)
    assert [peer.note for peer in comparison.peers.values()] == [
        "FAILED: RuntimeError: no",
        "not installed",
    ]


def test_switches_are_checked_against_the_reference(monkeypatch, no_pause):
    switches = layer.switch_arguments(["peephole", "recurrent_dropout", "proj_size"], 7)
    case = replace(TINY, training=True)
    assert compare_layer(make_problem(case), [], 1, 1, switches).failure == ""
    spoil(monkeypatch, lambda module: isinstance(module, fastlstm.LSTM))
    assert compare_layer(make_problem(case), [], 1, 1, switches).failure.startswith("FAILED")
