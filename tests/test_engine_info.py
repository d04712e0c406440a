import ctypes
import importlib.metadata
import os
import platform
import subprocess
import sys

import pytest

from fastlstm import _engine

ALL_ISAS = ["scalar", "neon", "avx2", "avx512", "avx512_amx"]


def run_with_isa(name: str, code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "FASTLSTM_ISA": name},
        capture_output=True,
        text=True,
        timeout=120,
    )


def import_error_with_isa(name: str) -> str:
    code = (
        "try:\n"
        "    import fastlstm._engine\n"
        "except ImportError as error:\n"
        "    print(error)\n"
        "else:\n"
        "    raise SystemExit('the import passed')\n"
    )
    result = run_with_isa(name, code)
    assert result.returncode == 0, result.stderr
    return result.stdout.rstrip("\n")


def may_use_tiles() -> bool:
    request_permission, tile_data = 0x1023, 18  # ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
    system_call_number = 158  # arch_prctl on x86-64
    return ctypes.CDLL(None).syscall(system_call_number, request_permission, tile_data) == 0


def test_version_is_that_of_the_package():
    assert _engine.version() == importlib.metadata.version("fastlstm")


def test_available_isas_are_those_of_the_platform_slowest_first():
    available = _engine.available_isas()
    assert available[0] == "scalar"
    assert available == [name for name in ALL_ISAS if name in available]
    if platform.machine().lower() in ("x86_64", "amd64"):
        assert "neon" not in available
    if platform.machine().lower() in ("aarch64", "arm64"):
        assert available == ["scalar", "neon"]


@pytest.mark.skipif(not os.path.exists("/proc/cpuinfo"), reason="reads /proc/cpuinfo")
@pytest.mark.skipif(platform.machine() != "x86_64", reason="reads the flags of an x86-64 CPU")
def test_detection_agrees_with_the_kernel():
    with open("/proc/cpuinfo") as file:
        flags = next(line for line in file if line.startswith("flags")).split(":")[1].split()
    avx2 = {"avx2", "fma", "f16c"} <= set(flags)
    avx512 = avx2 and {"avx512f", "avx512bw", "avx512dq", "avx512vl"} <= set(flags)
    bf16 = avx512 and "avx512_bf16" in flags
    # That the kernel shows them does not tell whether it lets this process use them.
    amx = bf16 and {"amx_tile", "amx_bf16"} <= set(flags) and may_use_tiles()
    expected = ["scalar"] + ["avx2"] * avx2 + ["avx512"] * avx512 + ["avx512_amx"] * amx
    assert _engine.available_isas() == expected
    result = run_with_isa("", "from fastlstm import _engine; print(_engine.features())")
    assert result.stdout.strip() == str({"avx512_bf16": bf16, "amx_bf16": amx})


def test_isa_in_use_is_available():
    assert _engine.isa() in _engine.available_isas()


def test_without_a_request_the_best_isa_is_used():
    result = run_with_isa("", "from fastlstm import _engine; print(_engine.isa())")
    assert result.stdout.strip() == _engine.available_isas()[-1]


@pytest.mark.parametrize("name", _engine.available_isas())
def test_each_available_isa_can_be_forced(name):
    code = "from fastlstm import _engine; print(_engine.isa(), *_engine.features().values())"
    result = run_with_isa(name, code)
    assert result.returncode == 0, result.stderr
    isa, avx512_bf16, amx_bf16 = result.stdout.split()
    assert isa == name
    assert amx_bf16 == str(name == "avx512_amx")
    if not name.startswith("avx512"):
        assert avx512_bf16 == "False"


@pytest.mark.parametrize("name", ["sse9", "AVX2", " avx2"])
def test_an_unknown_isa_is_refused(name):
    assert import_error_with_isa(name) == (
        f"FASTLSTM_ISA='{name}' is not an instruction set that fastlstm knows "
        f"(scalar, neon, avx2, avx512, avx512_amx); "
        f"available on this CPU: {', '.join(_engine.available_isas())}"
    )


def test_an_isa_that_the_cpu_lacks_is_refused():
    lacking = next(name for name in ALL_ISAS if name not in _engine.available_isas())
    assert import_error_with_isa(lacking) == (
        f"FASTLSTM_ISA='{lacking}' is not supported by this CPU; "
        f"available on this CPU: {', '.join(_engine.available_isas())}"
    )
