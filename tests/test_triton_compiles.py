"""The GPU kernels compile for GPUs that are not here, and keep to the registers of a thread."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("triton_compiled.py")
pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="Triton has no wheel for this machine"
)


@pytest.mark.parametrize("target", ["sm_90", "gfx942"])
def test_kernels_compile_and_spill_nothing(target: str, tmp_path: Path) -> None:
    environment = {**os.environ, "TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, str(SCRIPT), target],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == 8
    for kernel in found:
        assert kernel["spilled"] == 0, kernel
        # Of 65,536 a processor: with 128 it has room for four programs of four warps, and so
        # loads for one while it waits for another.
        assert kernel["registers"] <= (255 if kernel["everything"] else 128), kernel
