"""Compile the GPU kernels for machines that are not here; run by `test_triton_compiles.py`.

The first argument is the machine; with a second one the switches are compiled one by one.
Prints a line of JSON for each kernel: the registers of a thread, the bytes that it spills and the
shared memory of a program; and of kernels that loop, the weights that are loaded in and before it.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Set
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from fastlstm.ops import triton_small_kernels, triton_small_kernels_backward, triton_step_kernels
from fastlstm.ops.triton_launch import Launch
from fastlstm.ops.triton_small_launch import H100, MI300X, Tiles, factor_size, memory_needed

TARGETS = {"sm_90": GPUTarget("cuda", 90, 32), "gfx942": GPUTarget("hip", "gfx942", 64)}
STEP_KERNELS = [
    triton_step_kernels.cell_forward,
    triton_step_kernels.hidden_forward,
    triton_step_kernels.cell_backward,
    triton_step_kernels.hidden_backward,
]
SMALL_KERNELS = [triton_small_kernels.forward, triton_small_kernels_backward.backward]
WHOLE_NUMBERS = {
    "t": "i32", "following": "i32", "later": "i32", "steps": "i32", "B": "i32", "lengths": "*i64",
}  # fmt: skip
FLAGS = {"reset", "zoneout_cell_mask", "zoneout_hidden_mask"}
KEPT = {
    "h", "output", "gates", "d_output", "d_gates", "d_z", "d_recurrent", "weight_hh", "weight_hr",
}  # fmt: skip
NOT_IN_A_PLAIN_LAYER = FLAGS | {
    "h_input", "emitted", "d_emitted", "peephole", "norm_hh", "norm_cell", "norm_cell_bias",
    "lengths", "reset_h", "reset_c", "recurrent_mask", "d_gates", "d_cells", "d_seen",
    "recurrent",
}  # fmt: skip
OF_A_PROJECTION = {"weight_hr", "d_new_h"}
SWITCHES = [
    tuple(OF_A_PROJECTION), ("peephole",), ("lengths",), ("reset",), ("recurrent_mask",),
    ("reset", "reset_h", "reset_c"), ("zoneout_cell_mask", "zoneout_hidden_mask"),
    ("norm_hh", "norm_cell", "d_seen", "recurrent"), ("d_gates", "d_cells"),
]  # fmt: skip


class Case(NamedTuple):
    """A kernel as it is launched."""

    kernel: Any
    everything: bool  # all switches, else none
    kept: str  # the dtype of the input
    numbers: dict[str, Any]
    absent: Set[str]
    warps: int
    memory: int  # the shared memory that the back end reckons with


def step_cases() -> Iterator[Case]:
    """Those of "triton-step"."""
    for kernel in STEP_KERNELS:
        for everything, hidden, kept in ((False, 500, "bf16"), (True, 1000, "fp32")):
            launch = Launch.over(16, hidden, whole_rows=everything)
            blocks = {"BLOCK_B": launch.rows, "BLOCK_H": launch.units}
            # With a projection this kernel's work ends, or begins, before the hidden state.
            absent = {"emitted", "d_emitted"} if everything else NOT_IN_A_PLAIN_LAYER
            if not everything and "gates_x" in kernel.arg_names:
                absent = absent - {"recurrent"}
            numbers = {"H": hidden, **constants(everything), **blocks}
            yield Case(kernel, everything, kept, numbers, absent, launch.warps, 0)


def small_cases(target: str) -> Iterator[Case]:
    """Those of "triton-small"."""
    device = H100 if target == "sm_90" else MI300X
    dtypes = {"bf16": torch.bfloat16, "fp32": torch.float32}
    for kernel in SMALL_KERNELS:
        for everything, hidden, kept in (
            (False, 100, "bf16"),
            (True, 100, "bf16"),
            (False, 50, "fp32"),
            (True, 50, "fp32"),
        ):
            tiles = Tiles.over(device, 16, hidden, hidden)
            numbers = {
                "H": hidden, "FEATURES": hidden, "SAVE_EVERY": 1, "PRECISION": device.precision,
                "BLOCK_B": tiles.rows, "BLOCK_H": tiles.units, "BLOCK_F": tiles.features,
                **constants(everything),
            }  # fmt: skip
            absent = set() if everything else NOT_IN_A_PLAIN_LAYER | OF_A_PROJECTION
            size = factor_size(dtypes[kept], device)
            memory = memory_needed(device, 5 if everything else 4, hidden, hidden, size)
            absent = absent | {"chunks"}
            yield Case(kernel, everything, kept, numbers, absent, tiles.warps, memory)


def switch_cases() -> Iterator[Case]:
    """Those of "triton-small" with one switch each: some go wrong in the compiler alone."""
    for kernel in SMALL_KERNELS:
        for switch in ((), *SWITCHES, ("d_output",)):
            for gates, every, reverse in ((4, 1, True), (3, 3, False), (4, 0, True)):
                tiles = Tiles.over(H100, 16, 20, 20)
                numbers = {
                    **constants(False), "H": 20, "FEATURES": 20, "SAVE_EVERY": every,
                    "PRECISION": "ieee", "BLOCK_B": tiles.rows, "BLOCK_H": tiles.units,
                    "BLOCK_F": tiles.features, "GATES": gates, "REVERSE": reverse,
                }  # fmt: skip
                absent = NOT_IN_A_PLAIN_LAYER | OF_A_PROJECTION | {"d_output"}
                if kernel is triton_small_kernels.forward:
                    absent = absent | ({"chunks"} if every < 2 else set())
                    absent = absent | ({"gates", "cells"} if every != 1 else set())
                yield Case(kernel, False, "bf16", numbers, absent - {*switch}, tiles.warps, 0)


def constants(everything: bool) -> dict[str, Any]:
    """What kernels are compiled for."""
    rate = 0.25 if everything else 0.0
    return {
        "GATES": 4, "EPSILON": 1e-5, "CLIP": 3.0 if everything else 0.0,
        "ZONEOUT_CELL": rate, "ZONEOUT_HIDDEN": rate, "REVERSE": everything,
    }  # fmt: skip


def compiled(case: Case, target: str) -> Any:
    """A kernel, compiled for pointers to memory of its own, which is aligned."""
    signature: dict[str, str] = {}
    values: dict[tuple[int], Any] = {}
    aligned: dict[tuple[int], Any] = {}
    for place, name in enumerate(case.kernel.arg_names):
        if name in case.numbers or name in case.absent:
            signature[name], values[(place,)] = "constexpr", case.numbers.get(name)
            continue
        pointer = "*i1" if name in FLAGS else f"*{case.kept if name in KEPT else 'fp32'}"
        signature[name] = WHOLE_NUMBERS.get(name, pointer)
        if signature[name][0] == "*":
            aligned[(place,)] = [["tt.divisibility", 16]]
    source = ASTSource(case.kernel, signature, values, aligned)
    options = {"num_warps": case.warps, "num_stages": 1}
    return triton.compile(source, target=TARGETS[target], options=options)


def cost(found: Any) -> tuple[int, int]:
    """The registers of a thread, and the bytes, or for AMD the registers, that it spills."""
    if "amdgcn" in found.asm:
        text = found.asm["amdgcn"]
        spilled = sum(map(int, re.findall(r"gpr_spill_count: +(\d+)", text)))
        return max(map(int, re.findall(r"vgpr_count: +(\d+)", text))), spilled
    assembler = Path(triton.__file__).parent / "backends/nvidia/bin/ptxas"
    with TemporaryDirectory() as folder:
        file = Path(folder) / "kernel.ptx"
        file.write_text(found.asm["ptx"])
        done = subprocess.run(
            [assembler, "-v", "--gpu-name=sm_90a", file, "-o", Path(folder) / "kernel.cubin"],
            capture_output=True,
            text=True,
            check=True,
        )
    (registers,) = re.findall(r"Used (\d+) registers", done.stderr)
    (spilled,) = re.findall(r"(\d+) bytes spill stores", done.stderr)
    return int(registers), int(spilled)


def weights_brought(found: Any, numbers: dict[str, Any]) -> tuple[int, int]:
    """How many tiles of weights are loaded, or copied to shared memory, in the loop; and before."""
    text: str = found.asm["ttgir"]
    loop = re.search(r"^( *)(?:%\S+ = )?scf\.for .*?^\1\}", text, re.MULTILINE | re.DOTALL)
    assert loop is not None
    shape = f"tensor<{numbers['BLOCK_H']}x{numbers['BLOCK_F']}x"

    def brought(lines: str) -> int:
        # A load names its pointers, or on AMD's GPUs offsets and the tensor that it makes.
        return sum(
            shape in line
            and re.search(r"tt\.load|buffer_load|local_alloc|local_store", line) is not None
            for line in lines.splitlines()
        )

    return brought(loop.group()), brought(text[: loop.start()])


if __name__ == "__main__":
    target, *of_each_switch = sys.argv[1:]
    for case in switch_cases() if of_each_switch else (*step_cases(), *small_cases(target)):
        found = compiled(case, target)
        registers, spilled = cost(found)
        line = {
            "kernel": case.kernel.__name__,
            "everything": case.everything,
            "kept": case.kept,
            "rows": case.numbers["BLOCK_B"],
            "registers": registers,
            "spilled": spilled,
            "shared": found.metadata.shared,
            "memory": case.memory,
            "weights": None,
            "keeps_nan": {"min.NaN.f32", "max.NaN.f32"} <= {*found.asm.get("ptx", "").split()},
        }
        if case.kernel in SMALL_KERNELS:
            line["weights"] = weights_brought(found, case.numbers)
        print(json.dumps(line), flush=True)
