"""Compile the kernels of "triton-grid" without a GPU; run by `test_triton_grid_compiles.py`.

Prints a line of JSON for each: the plan, the registers of a thread, the bytes that it spills, the
bytes of shared memory, and what of its code the test looks at.
"""

import json
import re
import sys
from typing import Any

import triton
from triton.compiler import ASTSource

from fastlstm.ops.triton_grid_backward import grid_backward
from fastlstm.ops.triton_grid_forward import grid_forward
from fastlstm.ops.triton_grid_plan import WARPS, Chip, Plan, backward_plan, forward_plan
from triton_compiled import FLAGS, TARGETS, cost

H100 = Chip(132, 227 * 1024)
WHOLE_NUMBERS = {"start", "stop", "steps", "tiles", "every", "B"}
IN_16_BITS = {"output", "gates", "h", "d_output", "d_gates", "d_z"}
OF_LAYER_NORM = {
    "partials", "recurrent", "new_cells", "output_gates", "norm_hh", "norm_cell", "norm_cell_bias",
    "d_emitted", "d_recurrent", "d_seen", "of_recurrent", "of_cells", "cells_seen",
}  # fmt: skip
OF_A_PROJECTION = {"weight_hr", "vectors_hr", "d_new_h"}
NOT_IN_A_PLAIN_LAYER = FLAGS | OF_LAYER_NORM | OF_A_PROJECTION | {
    "starts", "peephole", "lengths", "reset_h", "reset_c", "recurrent_mask", "d_gates", "d_cells",
    "d_reset_h", "d_reset_c",
}  # fmt: skip


# One at a time: some go wrong in the compiler alone, and only without the others.
SWITCHES = [
    (), ("starts",), ("peephole",), ("lengths",), ("reset", "d_reset_h", "d_reset_c"),
    ("reset", "reset_h", "reset_c", "d_reset_h", "d_reset_c"), ("recurrent_mask",),
    ("zoneout_cell_mask",), ("zoneout_hidden_mask",), ("d_gates", "d_cells"), ("no d_output",),
    (*OF_LAYER_NORM,), (*(OF_LAYER_NORM - {"norm_cell_bias"}), "lengths"), (*OF_A_PROJECTION,),
    (*OF_A_PROJECTION, "lengths", "reset", "d_reset_h", "d_reset_c"),
    (*OF_A_PROJECTION, *OF_LAYER_NORM),
]  # fmt: skip


def compiled(
    kernel: Any, plan: Plan, hidden: int, kept: str, absent: set[str], **others: Any
) -> Any:
    """A kernel as `triton_grid` would have it compiled for an H100."""
    own, of_projection = {"UNITS": plan.units, "FEATURES": plan.units}, {}
    if plan.projection is not None:
        own["UNITS" if kernel is grid_backward else "FEATURES"] = plan.projection.units
        of_projection = {"HR_CHUNKS": plan.projection.chunks, "HR_BATCH": plan.projection.batch}
    numbers = {
        "H": hidden, "R": features_of(plan, hidden), "GATES": 4, "EPSILON": 1e-5, "CLIP": 0.0,
        "ZONEOUT_CELL": 0.0, "ZONEOUT_HIDDEN": 0.0, "REVERSE": False, "TILE": plan.rows,
        "CHUNKS": plan.chunks, "PARTS": plan.parts, "HELD": plan.held, "BATCH": plan.batch,
        "HR_CHUNKS": None, "HR_BATCH": None, "SHARES": plan.shares, "PROGRAMS": plan.programs,
        **own, **of_projection, **others,
    }  # fmt: skip
    numbers["STAGES"] = 1 + 2 * ("norm_hh" not in absent) + ("weight_hr" not in absent)
    if plan.shares == 1:
        absent = absent | {"shares"}
    elif kernel is grid_backward:
        numbers["STAGES"] += 1
    factors = kept if plan.parts == 1 else "bf16"
    types = {"arrived": "i32", "lengths": "i64"}
    types |= dict.fromkeys(("weight", "vectors", "weight_hr", "vectors_hr"), factors)
    types |= dict.fromkeys(FLAGS, "i1") | dict.fromkeys(IN_16_BITS, kept)
    if "norm_hh" not in absent:  # what is kept for the way back is widened then
        types |= {"d_output": "fp32", "d_z": "fp32"}
    signature: dict[str, str] = {}
    constants: dict[tuple[int], Any] = {}
    alignment: dict[tuple[int], Any] = {}
    for place, name in enumerate(kernel.arg_names):
        if name in numbers or name in absent:
            signature[name], constants[(place,)] = "constexpr", numbers.get(name)
        elif name in WHOLE_NUMBERS:
            signature[name] = "i32"
        else:
            signature[name] = f"*{types.get(name, 'fp32')}"
            alignment[(place,)] = [["tt.divisibility", 16]]
    source = ASTSource(kernel, signature, constants, alignment)
    options = {"num_warps": WARPS, "num_stages": 1, "launch_cooperative_grid": True}
    return triton.compile(source, target=TARGETS["sm_90"], options=options)


def features_of(plan: Plan, hidden: int) -> int:
    """Of the hidden state: as many as units, or with a projection half of them."""
    return hidden if plan.projection is None else hidden // 2


def plans_of(rows: int, hidden: int, parts: int, projects: bool) -> list[tuple[Any, Plan]]:
    """Both kernels, each with its plan."""
    features = hidden // 2 if projects else None
    forward = forward_plan(rows, hidden, parts, H100, features)
    back = backward_plan(rows, hidden, 4, parts, H100, features)
    assert forward is not None and back is not None
    return [(grid_forward, forward), (grid_backward, back)]


def in_loop(code: str, outputs: int) -> tuple[int, int]:
    """How often loops in TTGIR read slices of so many outputs or write them to shared memory.

    In every turn, and under a condition.
    """
    slices = re.compile(rf"(tt\.load .*tensor<|local_alloc .*<)8x{outputs}x32x")
    around: list[tuple[int, str]] = []
    found = {False: 0, True: 0}
    for line in code.splitlines():
        text = line.lstrip()
        depth = len(line) - len(text)
        while around and depth <= around[-1][0] and not text.startswith("} else"):
            around.pop()
        kinds = [kind for _, kind in around]
        if slices.search(text) and "scf.for" in kinds:
            found["scf.if" in kinds] += 1
        if opens := re.search(r"scf\.(for|if|while)", text):
            around.append((depth, opens.group(0)))
    return found[False], found[True]


def slices(code: str, outputs: int) -> int:
    """How many slices of so many outputs TTGIR reads."""
    return len(re.findall(rf"tt\.load .*tensor<8x{outputs}x32x", code))


def asked_of_memory(ptx: str) -> list[str]:
    """How the kernel reads and writes what other programs do."""
    kinds = {
        "ld.cg": r"ld\.global\.cg\.v4\.b32",
        "ld.acquire": r"ld\.global\.gpu\.acquire|ld\.acquire\.gpu",
        "red.release": r"(atom|red)\.global\.gpu\.release\.add|(atom|red)\.release\.gpu",
    }
    return sorted(name for name, pattern in kinds.items() if re.search(pattern, ptx))


def main(kind: str, cases: list[tuple[int, str, int]]) -> None:
    """Compile both kernels for each number of units, dtype and number of rows."""
    everything = kind == "everything"
    absent = set() if everything else NOT_IN_A_PLAIN_LAYER
    if "layer norm" in kind:
        absent = absent - OF_LAYER_NORM
    if "projection" in kind:
        absent = absent - OF_A_PROJECTION
    projects = "weight_hr" not in absent
    on = {"CLIP": 3.0, "REVERSE": True} if everything else {}
    for hidden, kept, rows in cases:
        for kernel, plan in plans_of(rows, hidden, 3 if kept == "fp32" else 1, projects):
            found = compiled(kernel, plan, hidden, kept, absent, **on)
            registers, spilled = cost(found)
            code = found.asm["ttgir"]
            line = {
                "kernel": kernel.__name__,
                "case": (hidden, kept, rows, kind),
                "plan": plan,
                "registers": registers,
                "spilled": spilled,
                "shared": found.metadata.shared,
                "in_loop": in_loop(code, plan.outputs),
                "slices": slices(code, plan.outputs),
                "of_projection": None,
                "products": code.count("tt.dot "),
                "converted": code.count("convert_layout"),
                "asked": asked_of_memory(found.asm["ptx"]),
            }
            if plan.projection is not None:
                outputs = plan.projection.outputs
                line["of_projection"] = (in_loop(code, outputs), slices(code, outputs))
            print(json.dumps(line), flush=True)


def each_switch() -> None:
    """Compile both kernels with one switch at a time, with and without shares."""
    for switch in SWITCHES:
        absent = NOT_IN_A_PLAIN_LAYER - {*switch}
        projects = "weight_hr" not in absent
        if switch == ("no d_output",):
            absent = absent | {"d_output"}
        for gates, reverse, zoneout, shares in ((4, True, 0.0, 1), (3, False, 0.25, 4)):
            for kernel, plan in plans_of(16, 20, 1, projects):
                others = {
                    "GATES": gates, "REVERSE": reverse, "CLIP": 4 * zoneout,
                    "ZONEOUT_CELL": zoneout, "ZONEOUT_HIDDEN": zoneout,
                }  # fmt: skip
                if kernel is grid_backward:
                    plan = plan._replace(shares=shares, outputs=shares * plan.units)
                compiled(kernel, plan, 20, "bf16", absent, **others)
        print(json.dumps(switch), flush=True)


if __name__ == "__main__":
    main(*json.loads(sys.argv[1])) if sys.argv[1:] else each_switch()
