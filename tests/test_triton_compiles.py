"""The GPU kernels compile for GPUs that are not here, and keep to the registers of a thread."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from triton_scripts import lines_of

SCRIPT = "triton_compiled.py"
pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="Triton has no wheel for this machine"
)


@pytest.fixture(scope="module", params=["sm_90", "gfx942"])
def kernels(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> list[dict[str, Any]]:
    """What `triton_compiled.py` prints for a GPU."""
    found = lines_of(SCRIPT, tmp_path_factory.mktemp("compiled"), request.param)
    assert len(found) == 16
    return [{**kernel, "target": request.param} for kernel in found]


def test_a_step_a_launch_compiles_and_spills_nothing(kernels: list[dict[str, Any]]) -> None:
    steps = [kernel for kernel in kernels if kernel["weights"] is None]
    assert len(steps) == 8
    for kernel in steps:
        assert kernel["spilled"] == 0, kernel
        if kernel["kernel"] == "cell_forward" and kernel["target"] == "sm_90":
            assert kernel["keeps_nan"] == kernel["everything"], kernel  # where it clips
        # Of 65,536 a processor: with 128 it has room for four programs of four warps, and so
        # loads for one while it waits for another.
        assert kernel["registers"] <= (255 if kernel["everything"] else 128), kernel


def test_all_steps_in_a_launch_keep_the_weights_on_the_chip(kernels: list[dict[str, Any]]) -> None:
    loops = [kernel for kernel in kernels if kernel["weights"] is not None]
    assert len(loops) == 8
    for kernel in loops:
        in_loop, before = kernel["weights"]
        assert in_loop == 0, kernel
        assert before >= (5 if kernel["everything"] else 4), kernel
        # One program of eight warps has all 65,536 registers, but no thread more than 255; an
        # AMD processor has twice as many, and a thread of four warps up to 512.
        amd = kernel["target"] == "gfx942"
        exact = kernel["kept"] == "fp32" and not amd  # whose factors are three numbers each
        assert kernel["registers"] <= (
            (512 if amd else 255) if kernel["everything"] or exact else 240
        )
        assert kernel["spilled"] <= (96 if kernel["everything"] else 16 if exact else 0), kernel
        assert kernel["shared"] <= kernel["memory"], kernel
        assert kernel["shared"] <= (65_536 if amd else 232_448), kernel


@pytest.mark.heavy
def test_each_switch_compiles(tmp_path: Path) -> None:
    for kernel in lines_of(SCRIPT, tmp_path, "sm_90", "switches"):
        assert kernel["spilled"] <= 16 and kernel["weights"][0] == 0, kernel
