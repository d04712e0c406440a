"""The kernels of "triton-grid" compile for an H100, and keep their weights on the chip."""

import importlib.util
import json
from pathlib import Path

import pytest

from fastlstm.ops.triton_grid_plan import Plan
from triton_scripts import lines_of

SCRIPT = "triton_grid_compiled.py"
pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="Triton has no wheel for this machine"
)
FEW = [(512, "fp32", 16), (1024, "bf16", 64)]
OTHERS = [
    (256, "bf16", 8), (256, "fp32", 64), (500, "fp32", 16), (512, "bf16", 16), (512, "bf16", 64),
    (512, "fp32", 64), (512, "fp32", 8), (1000, "fp16", 64), (1024, "bf16", 1), (1024, "fp32", 1),
    (1024, "fp32", 64), (1792, "bf16", 1), (1792, "bf16", 64),
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "cases"),
    [
        ("plain", FEW),
        ("layer norm", FEW[1:]),
        pytest.param("plain", OTHERS, marks=pytest.mark.heavy),
        pytest.param("layer norm", FEW + OTHERS, marks=pytest.mark.heavy),
        ("projection", FEW[1:]),
        pytest.param("projection", FEW + OTHERS, marks=pytest.mark.heavy),
        pytest.param("projection and layer norm", FEW + OTHERS, marks=pytest.mark.heavy),
        pytest.param("everything", FEW + OTHERS, marks=pytest.mark.heavy),
    ],
)
def test_kernels_compile(kind: str, cases: list[tuple], tmp_path: Path) -> None:
    found = lines_of(SCRIPT, tmp_path, json.dumps([kind, cases]))
    assert len(found) == 2 * len(cases)
    for kernel in found:
        plan = Plan(*kernel["plan"])
        # Each slice is read at one place: before the loop, or in its first turn if the loop is to
        # hand it on in registers. On its way it goes through shared memory.
        slices, products = plan.chunks * plan.parts, plan.chunks
        if plan.projection is not None:  # whose slices are all read before the loop
            projection = Plan(*plan.projection)
            of_projection, products = projection.chunks * plan.parts, products + projection.chunks
            if projection.outputs == plan.outputs:
                slices += of_projection
            else:
                assert kernel["of_projection"] == [[0, 0], of_projection], kernel
        assert kernel["slices"] == slices, kernel
        assert kernel["in_loop"] == [0, 2 * plan.held], kernel
        assert kernel["products"] == products * plan.parts * (plan.parts + 1) // 2, kernel
        # The sum over the warps; a second one would have each load wait for the one before. Layer
        # norm has four more, each of one number a row, that the program leaves to the others.
        converted = 1 + 4 * (kind not in ("plain", "projection"))
        converted += plan.projection is not None  # with a second product
        assert kernel["converted"] == converted, kernel
        assert kernel["shared"] <= 227 * 1024, kernel
        # Eight warps can have 255 registers a thread. A few that have no room, of 24 numbers at
        # most, take less time than to read in more batches, or weights from shared memory.
        assert kernel["registers"] <= 255, kernel
        assert kernel["spilled"] <= 96, kernel
        assert kernel["asked"] == ["ld.acquire", "ld.cg", "red.release"], kernel


@pytest.mark.heavy
def test_each_switch_compiles(tmp_path: Path) -> None:
    assert len(lines_of(SCRIPT, tmp_path)) == 16


def test_weights_that_are_read_in_every_turn_show() -> None:
    from triton_grid_compiled import in_loop

    load = "%2 = tt.load %1 : tensor<8x64x32x!tt.ptr<bf16>, #blocked>"
    lines = ["scf.for %t {", f"  {load}", "  scf.if %c {", f"    {load}", "  }", "}", load]
    assert in_loop("\n".join(lines), 64) == (1, 1)
