"""Launch the GPU kernels as on an H100, but for the launch; run by `test_triton_launches.py`.

Triton's own just-in-time compiler takes the host's calls, with tensors of the CPU: it binds their
arguments, finds their types and compiles for them, which its interpreter does not do. A driver that
is none takes each launch and looks at it. What comes out of all this is thrown away.

The argument is how many configurations of the benchmark each back end runs; 0 stands for all.
Prints a line of JSON for each: its name, how many it served, and the launches of its kernels.
"""

import json
import subprocess
import sys
import sysconfig
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from triton.backends.compiler import GPUTarget
from triton.backends.nvidia import driver as nvidia
from triton.runtime.driver import driver

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import gpu_operator, gpu_plan

from fastlstm.ops import triton_calls, triton_grid, triton_small, triton_small_launch

PROCESSORS = 132
SHARED = 227 * 1024

launches: Counter[str] = Counter()
launchers: set[str] = set()


class Launcher:
    """What Triton makes of a kernel's signature, to be called at each launch."""

    def __init__(self, source: Any, metadata: Any) -> None:
        self._name, self._metadata = source.fn.__name__, metadata
        self._signature = dict(source.signature)
        text = nvidia.make_launcher(source.constants, self._signature, None)
        if text not in launchers:
            launchers.add(text)
            build(text)

    def __call__(self, x: int, y: int, z: int, stream: int, function: int, *others: Any) -> None:
        """Look at a launch; the arguments are those of Triton's own launcher."""
        _, _, _, _, *arguments = others  # of the launch, not of the kernel
        launches[self._name] += 1
        assert all(isinstance(size, int) and size > 0 for size in (x, y, z))
        assert self._metadata.shared <= SHARED
        if self._metadata.launch_cooperative_grid:
            assert x * y * z <= PROCESSORS
        for (name, kind), given in zip(self._signature.items(), arguments, strict=True):
            if kind == "i32":
                assert type(given) is int and -(2**31) <= given < 2**31, (name, given)
            elif kind != "constexpr":
                assert kind[0] == "*", (name, kind)
                assert isinstance(given, torch.Tensor) and given.is_contiguous(), name


class Utilities:
    """What Triton asks its driver's C code for."""

    def load_binary(self, *_: Any) -> tuple[int, int, int, int, int]:
        """Module, function, registers, spills and the most threads of a program."""
        return 1, 1, 0, 0, 1024

    def get_device_properties(self, device: int) -> dict[str, int]:
        """Those of an H100."""
        return {"max_shared_mem": SHARED, "multiprocessor_count": PROCESSORS}


class Driver:
    """An H100 that is not there."""

    launcher_cls = Launcher
    utils = Utilities()

    def get_current_device(self) -> int:
        """Its number."""
        return 0

    def get_current_stream(self, device: int) -> int:
        """The default one."""
        return 0

    def get_current_target(self) -> GPUTarget:
        """What to compile for."""
        return GPUTarget("cuda", 90, 32)


def build(source: str) -> None:
    """Compile a launcher, which Triton does with the C compiler of the user's machine."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "launcher.c"
        file.write_text(source)
        headers = [*nvidia.include_dirs, sysconfig.get_paths()["include"]]
        command = ["cc", "-fPIC", "-shared", *(f"-I{one}" for one in headers), str(file)]
        subprocess.run([*command, "-o", str(file.with_suffix(".so"))], check=True)


def play_an_h100() -> None:
    """Have the back ends see one where a tensor is on the CPU."""
    driver.set_active(Driver())
    for module in (triton_calls, triton_grid, triton_small):
        module.is_interpreted = lambda: True  # for whom tensors may be anywhere
    triton_grid._stretches = lambda turns, device: [(0, turns)]
    for module in (triton_small, triton_small_launch):
        module.device_of = lambda device: triton_small_launch.H100


def configurations() -> Iterator[gpu_plan.Configuration]:
    """Those of the benchmark: of the operator's with all switches first, then of layers."""
    ordered = sorted(gpu_plan.operators(gpu_plan.OPERATOR_SWITCHES), key=lambda c: -len(c.switch))
    for one in ordered:
        yield replace(one, steps=min(3, one.steps))
    for rows, hidden in (*gpu_plan.SMALL_SHAPES, *gpu_plan.SHAPES):
        for dtype in gpu_plan.DTYPES:
            for every in (0, 1):
                sizes = (rows, hidden, dtype)
                yield gpu_plan.Configuration("operator", *sizes, steps=2, save_every=every)


def run(backend: str, most: int) -> int:
    """Launch what a back end needs for the first configurations that it serves; how many."""
    served = 0
    for one in configurations():
        if one.dtype == "float64" and backend != "triton-step":
            continue
        arguments = gpu_operator.make_arguments(one, gpu_operator.switches_of(one))
        arguments = gpu_operator.on_device(arguments, torch.device("cpu"), backend)
        try:
            gpu_operator.results(arguments, arguments.input.dtype)
        except RuntimeError as error:
            if "cannot serve this call" not in str(error):
                raise
            continue
        served += 1
        if served == most:
            break
    return served


if __name__ == "__main__":
    play_an_h100()
    for name in ("triton-small", "triton-grid", "triton-step"):
        launches.clear()
        served = run(name, int(sys.argv[1]))
        print(json.dumps([name, served, launches]), flush=True)
