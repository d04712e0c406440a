"""Compile the GPU kernels for machines that are not here; run by `test_triton_compiles.py`.

Prints a line of JSON for each kernel: the registers of a thread, and the bytes that it spills.
"""

import json
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from fastlstm.ops import triton_step_kernels
from fastlstm.ops.triton_launch import Launch

TARGETS = {"sm_90": GPUTarget("cuda", 90, 32), "gfx942": GPUTarget("hip", "gfx942", 64)}
KERNELS = [
    triton_step_kernels.cell_forward,
    triton_step_kernels.hidden_forward,
    triton_step_kernels.cell_backward,
    triton_step_kernels.hidden_backward,
]
WHOLE_NUMBERS = {
    "t": "i32", "following": "i32", "later": "i32", "steps": "i32", "B": "i32", "lengths": "*i64",
}  # fmt: skip
FLAGS = {"reset", "zoneout_cell_mask", "zoneout_hidden_mask"}
KEPT = {"h", "output", "gates", "d_output", "d_gates", "d_z", "d_recurrent"}
NOT_IN_A_PLAIN_LAYER = FLAGS | {
    "h_input", "emitted", "d_emitted", "peephole", "norm_hh", "norm_cell", "norm_cell_bias",
    "lengths", "reset_h", "reset_c", "recurrent_mask", "d_gates", "d_cells", "d_seen",
    "recurrent",
}  # fmt: skip


def compiled(kernel: Any, everything: bool, hidden: int, kept: str, target: str) -> Any:
    """A kernel as `Launch` would have it compiled."""
    launch = Launch.over(16, hidden, whole_rows=everything)
    rate = 0.25 if everything else 0.0
    numbers = {
        "H": hidden, "GATES": 4, "EPSILON": 1e-5, "CLIP": 3.0 if everything else 0.0,
        "ZONEOUT_CELL": rate, "ZONEOUT_HIDDEN": rate,
        "REVERSE": everything, "BLOCK_B": launch.rows, "BLOCK_H": launch.units,
    }  # fmt: skip
    # With a projection this kernel's work ends, or begins, before the hidden state.
    absent = {"emitted", "d_emitted"} if everything else NOT_IN_A_PLAIN_LAYER
    if not everything and "recurrent" in kernel.arg_names and "gates_x" in kernel.arg_names:
        absent = absent - {"recurrent"}
    signature: dict[str, str] = {}
    constants: dict[tuple[int], Any] = {}
    for place, name in enumerate(kernel.arg_names):
        if name in numbers or name in absent:
            signature[name], constants[(place,)] = "constexpr", numbers.get(name)
        elif name in FLAGS:
            signature[name] = "*i1"
        else:
            signature[name] = WHOLE_NUMBERS.get(name, f"*{kept if name in KEPT else 'fp32'}")
    source = ASTSource(kernel, signature, constants)
    return triton.compile(source, target=TARGETS[target], options={"num_warps": launch.warps})


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


if __name__ == "__main__":
    target = sys.argv[1]
    for kernel in KERNELS:
        for everything, hidden, kept in ((False, 500, "bf16"), (True, 1000, "fp32")):
            registers, spilled = cost(compiled(kernel, everything, hidden, kept, target))
            line = {
                "kernel": kernel.__name__,
                "everything": everything,
                "registers": registers,
                "spilled": spilled,
            }
            print(json.dumps(line), flush=True)
