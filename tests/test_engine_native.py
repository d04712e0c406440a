"""The engine's C++ tests: without Python, on every instruction set, and on tiles in software."""

import subprocess
from pathlib import Path

import pytest

from fastlstm import _engine

ROOT = Path(__file__).parent.parent


@pytest.mark.heavy
def test_make_native() -> None:
    done = subprocess.run(["make", "native"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    for isa in _engine.available_isas():
        assert f"{isa}: product ... passed" in done.stdout
    if _engine.features()["avx512_bf16"]:
        assert "avx512_amx: bfloat16 ... passed" in done.stdout
