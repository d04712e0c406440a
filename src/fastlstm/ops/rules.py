"""Which back end was the fastest where, on a GPU: measured by `benchmarks/gpu.py`.

Both tables are read from the top; the first rule that fits a call decides. Where none does, cuDNN
serves what it knows and "triton-step" all else. The tables are empty, as no GPU has been measured.
"""

from typing import NamedTuple

import torch


class Rule(NamedTuple):
    """One back end was the fastest for all calls of these dtypes and sizes."""

    fastest: str
    dtypes: tuple[torch.dtype, ...]
    trains: bool  # forward and backward passes; else the forward pass alone
    rows: tuple[int, int]  # B, from and to
    hidden: tuple[int, int]  # H, from and to
    steps: tuple[int, int]  # T, from and to: what a call costs at once weighs more in few of them
    scans: tuple[int, int] = (1, 1)  # layers times directions, from and to


class Call(NamedTuple):
    """What the rules ask of a call."""

    dtype: torch.dtype
    trains: bool
    rows: int
    hidden: int
    steps: int
    scans: int = 1


SCANS: tuple[Rule, ...] = ()
"""Among our own kernels, for one layer in one direction."""

STACKS: tuple[Rule, ...] = ()
"""Our kernels, as "scan", against "cudnn", for whole stacks of plain layers."""


def fastest(rules: tuple[Rule, ...], call: Call) -> str | None:
    """The name in the first rule that fits; None where nothing was measured."""
    for rule in rules:
        if call.dtype in rule.dtypes and call.trains == rule.trains and _is_within(rule, call):
            return rule.fastest
    return None


def _is_within(rule: Rule, call: Call) -> bool:
    names = ("rows", "hidden", "steps", "scans")
    sizes = ((getattr(rule, name), getattr(call, name)) for name in names)
    return all(least <= size <= most for (least, most), size in sizes)
