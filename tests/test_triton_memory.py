"""No program of a Triton kernel writes where another one reads, and all keep to their tensors."""

import pytest
import torch

from cases import EVERYTHING
from fastlstm.ops import triton_grid, triton_grid_plan
from fastlstm.ops.triton_grid import INTERPRETED
from fastlstm.ops.triton_grid_plan import Chip
from test_scan import check
from test_triton_grid import check_projection
from triton_interpreted import needs_interpreter

pytestmark = needs_interpreter

HEAVY_3 = pytest.param(3, marks=pytest.mark.heavy)
KINDS = [(), ("layer_norm",), ("lengths", "reset_state", "reverse"), EVERYTHING]


def faults(backend: str, switches: tuple[str, ...], save_every: int, **sizes: int) -> list[str]:
    """Those of a scan and of its backward pass, with several programs a launch."""
    from triton_memory import watched

    with watched() as launches:
        check(switches, save_every, backend=backend, **sizes)
    assert max(len(launch.programs) for launch in launches) > 1
    return [fault for launch in launches for fault in launch.faults()]


@pytest.mark.parametrize("save_every", [1, HEAVY_3])
@pytest.mark.parametrize(("backend", "hidden"), [("triton-step", 130), ("triton-small", 11)])
@pytest.mark.parametrize("switches", KINDS, ids="+".join)
def test_programs_keep_to_themselves(
    switches: tuple[str, ...], backend: str, hidden: int, save_every: int
) -> None:
    assert faults(backend, switches, save_every, steps=3, rows=19, hidden=hidden) == []


@pytest.mark.parametrize("most_traffic", [1e9, 0], ids=["whole sums", "shares of sums"])
@pytest.mark.parametrize("save_every", [1, HEAVY_3])
@pytest.mark.parametrize("switches", KINDS, ids="+".join)
def test_programs_of_a_grid_keep_to_themselves_between_barriers(
    switches: tuple[str, ...],
    save_every: int,
    most_traffic: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two groups of programs, each with two tiles of rows."""
    monkeypatch.setattr(triton_grid, "_chip", lambda device: Chip(4, INTERPRETED.shared))
    monkeypatch.setattr(triton_grid_plan, "_MOST_TRAFFIC", most_traffic)
    assert faults("triton-grid", switches, save_every, steps=3, rows=21, hidden=19) == []


@pytest.mark.parametrize("most_traffic", [1e9, 0], ids=["whole sums", "shares of sums"])
@pytest.mark.parametrize("norm", [(), pytest.param(("layer_norm",), marks=pytest.mark.heavy)])
def test_programs_of_a_grid_with_a_projection_keep_to_themselves_between_barriers(
    norm: tuple[str, ...], most_traffic: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of three programs have features."""
    from triton_memory import watched

    monkeypatch.setattr(triton_grid_plan, "_MOST_TRAFFIC", most_traffic)
    with watched() as launches:
        check_projection(norm, features=19, steps=2, rows=9, hidden=35)
    assert max(len(launch.programs) for launch in launches) > 4
    assert [fault for launch in launches for fault in launch.faults()] == []


def test_a_race_and_a_wrong_address_show() -> None:
    from triton_memory import watched
    from triton_probe import write_next

    x, y = torch.zeros(8), torch.zeros(8)
    with watched() as launches:
        write_next[(4,)](x, x, AHEAD=0)
        write_next[(4,)](x, x, AHEAD=1)
        write_next[(4,)](x, y, AHEAD=1)
        write_next[(9,)](x, y, AHEAD=0)
    found = [launch.faults() for launch in launches]
    assert found[:3] == [[], ["x: read and written by two"], []]
    assert len(found[3]) == 2  # one read and one written
    assert all(fault.startswith("out of bounds: 0x") for fault in found[3])
