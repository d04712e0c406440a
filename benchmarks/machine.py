"""Where and with what a benchmark ran, and what the package itself costs."""

import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path

from benchmarks.floor import read_caches

ROOT = Path(__file__).parent.parent
PACKAGES = ("fastlstm", "torch", "onnxruntime", "openvino", "jax", "numpy")
IMPORTS = 5
"""How many times the import is timed; the median counts."""


def describe() -> dict[str, str]:
    """The machine and the versions, each as a line of the report."""
    caches = read_caches()
    versions = [f"{name} {_version(name)}" for name in PACKAGES]
    return {
        "CPU": f"{cpu_model()}, {os.cpu_count()} cores",
        "Caches": f"L1 {caches.l1 >> 10} KiB and L2 {caches.l2 >> 10} KiB a core, "
        f"L3 {caches.l3 >> 20} MiB",
        "System": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "Versions": ", ".join(versions),
    }


def cpu_model(path: Path = Path("/proc/cpuinfo")) -> str:
    """The CPU's own name, as Linux tells it."""
    fields = (line.partition(":") for line in path.read_text().splitlines())
    return next((value.strip() for name, _, value in fields if name.strip() == "model name"), "CPU")


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def import_seconds() -> float:
    """What ``import fastlstm`` adds to ``import torch``."""
    program = (
        "import time, torch; start = time.perf_counter(); import fastlstm; "
        "print(time.perf_counter() - start)"
    )
    return statistics.median(
        float(subprocess.check_output([sys.executable, "-c", program], text=True))
        for _ in range(IMPORTS)
    )


def build_seconds() -> float:
    """What a build of the package takes from nothing, with the build tools at hand."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "wheel", str(ROOT), "--wheel-dir", folder]
        command += ["--no-deps", "--no-build-isolation", "--quiet", f"-Cbuild-dir={folder}/build"]
        start = time.perf_counter()
        subprocess.run(command, check=True)
        return time.perf_counter() - start
