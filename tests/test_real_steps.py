"""`RealSteps` against what it says, one step at a time."""

import pytest
import torch
from torch import Tensor

from cases import make_arguments
from fastlstm.ops.arguments import ScanArguments
from fastlstm.ops.real_steps import PaddedSteps, RealSteps

T, B, M = 6, 5, 3
LENGTHS = [None, [4, 6, 0, 1, 6], [6] * B, [0] * B]


def a_batch(
    lengths: list[int] | None, reverse: bool
) -> tuple[ScanArguments, list[tuple[int, int]]]:
    """The arguments of a scan, and its real steps in order."""
    given = None if lengths is None else torch.tensor(lengths)
    arguments = make_arguments((), steps=T, rows=B)._replace(lengths=given, reverse=reverse)
    ends = lengths or [T] * B
    return arguments, [(t, b) for t in range(T) for b in range(B) if t < ends[b]]


def stacked(rows: list[Tensor]) -> Tensor:
    return torch.stack(rows) if rows else torch.empty(0, M)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
def test_rows_of_real_steps(lengths: list[int] | None, reverse: bool) -> None:
    arguments, places = a_batch(lengths, reverse)
    real, x, initial = RealSteps(arguments), torch.randn(T, B, M), torch.randn(B, M)
    assert real.count == len(places)
    assert torch.equal(real.of(x), stacked([x[t, b] for t, b in places]))
    assert torch.equal(real.of(x[..., 0]), stacked([x[t, b] for t, b in places])[:, 0])
    assert torch.equal(real.of_each_row(initial), stacked([initial[b] for _, b in places]))
    padded = torch.zeros(T, B, M)
    for t, b in places:
        padded[t, b] = x[t, b]
    assert torch.equal(real.padded(real.of(x)), padded)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
def test_the_state_that_a_step_finds(lengths: list[int] | None, reverse: bool) -> None:
    arguments, places = a_batch(lengths, reverse)
    states, initial = torch.randn(T, B, M), torch.randn(B, M)
    for t, b in {(t, b) for t in range(T) for b in range(B)} - set(places):
        states[t, b] = torch.nan
    back = 1 if reverse else -1
    expected = [states[t + back, b] if (t + back, b) in places else initial[b] for t, b in places]
    assert torch.equal(RealSteps(arguments).before(states, initial), stacked(expected))


@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
def test_those_of_one_time_step(lengths: list[int] | None) -> None:
    arguments, places = a_batch(lengths, False)
    real = RealSteps(arguments)
    for t in range(T):
        here, rows = real.at(t)
        of_step = torch.arange(B)[rows].tolist()
        assert places[here] == [(t, b) for b in of_step]


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
def test_with_padding_the_same_stands_in_other_places(
    lengths: list[int] | None, reverse: bool
) -> None:
    arguments, places = a_batch(lengths, reverse)
    real, padded = RealSteps(arguments), PaddedSteps(arguments)
    x, states, initial = torch.randn(T, B, M), torch.randn(T, B, M), torch.randn(B, M)
    for t, b in {(t, b) for t in range(T) for b in range(B)} - set(places):
        x[t, b] = torch.nan
    here = torch.tensor([t * B + b for t, b in places], dtype=torch.int64)
    assert padded.count == T * B
    assert not padded.of(x).isnan().any()
    assert torch.equal(padded.of(x)[here], real.of(x))
    assert torch.equal(padded.of(x > 0)[here], real.of(x > 0))
    assert torch.equal(padded.of_each_row(initial)[here], real.of_each_row(initial))
    assert torch.equal(padded.before(states, initial)[here], real.before(states, initial))
    assert torch.equal(padded.padded(padded.of(x)), real.padded(real.of(x)))
