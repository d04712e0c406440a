"""The calls of the Triton back ends, taken by Triton's own compiler as on a GPU, but not launched.

The interpreter binds no types and compiles nothing; the tests of the compiler bring arguments of
their own. Between them stands what is tested here.
"""

import importlib.util
import shutil
from pathlib import Path

import pytest

from triton_scripts import lines_of

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
    found = lines_of("triton_launched.py", tmp_path, str(most), seconds=1_200)
    assert [name for name, *_ in found] == [*KERNELS]
    for name, served, launches in found:
        assert served >= (most or 30)
        assert set(launches) == KERNELS[name]
