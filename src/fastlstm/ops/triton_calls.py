"""What the Triton back ends have in common: whom they refuse, and what comes before their loops."""

from __future__ import annotations

import os
from functools import cache
from importlib.util import find_spec

import torch
from torch import Tensor

from fastlstm.ops import equations
from fastlstm.ops.arguments import ScanArguments
from fastlstm.ops.triton_launch import times

_DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def refusal(arguments: ScanArguments) -> str | None:
    """Why no Triton kernel can serve this call, or None."""
    x = arguments.input
    if x.device.type not in ("cuda", "xpu") and not is_interpreted():
        return f"it runs on GPUs, and the input is on {x.device}"
    if x.dtype not in _DTYPES:
        return f"it knows float32, float64, bfloat16 and float16, and the input is {x.dtype}"
    if not _has_triton():
        return "Triton is not installed"
    if 0 in arguments.c_0.shape + arguments.h_0.shape[-1:]:
        return "the layer has no units, or the batch no rows"
    return None


@cache
def _has_triton() -> bool:
    return find_spec("triton") is not None


def is_interpreted() -> bool:
    """Whether Triton's interpreter runs kernels on the CPU, as for tests and in a debugger."""
    return os.environ.get("TRITON_INTERPRET", "0") == "1"


def calculated(arguments: ScanArguments) -> ScanArguments:
    """The arguments in the dtype of the products: 16 bits as they are, unless a switch is on."""
    return equations.in_working_dtype(arguments) if arguments.has_switches else arguments


def input_part(arguments: ScanArguments) -> Tensor:
    """``W x + b`` of all time steps, (T, B, GH), in the dtype of the state."""
    a, live = arguments, equations.live_steps(arguments)
    if a.input.dtype == a.state_dtype:
        return equations.input_part(a, live)
    x = a.input if live is None else torch.where(live.unsqueeze(-1), a.input, 0)
    gates_x = times(x.flatten(0, 1), a.weight_ih.t())
    for bias in (a.bias_ih, a.bias_hh):
        if bias is not None:
            gates_x += bias
    return gates_x.unflatten(0, x.shape[:2])
