"""The calls of the Triton back ends, taken by Triton's own compiler as on a GPU, but not launched.

The interpreter binds no types and compiles nothing; the tests of the compiler bring arguments of
their own. Between them stands what is tested here.
"""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("triton_launched.py")
pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None or shutil.which("cc") is None,
    reason="Triton has no wheel for this machine, or there is no C compiler",
)
KERNELS = {
    "triton-small": {"forward", "backward"},
    "triton-grid": {"grid_forward", "grid_backward"},
    "triton-step": {"cell_forward", "hidden_forward", "cell_backward", "hidden_backward"},
}


@pytest.mark.parametrize("most", [1, pytest.param(0, marks=pytest.mark.heavy)], ids=str)
def test_launches(most: int, tmp_path: Path) -> None:
    environment = {**os.environ, "TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(most)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=1_200,
    )
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [name for name, *_ in found] == [*KERNELS]
    for name, served, launches in found:
        assert served >= (most or 30)
        assert set(launches) == KERNELS[name]
