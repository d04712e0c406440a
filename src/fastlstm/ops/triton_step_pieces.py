"""The recurrences of the back end "triton-step" by pieces of the sequence, each a CUDA graph.

A piece is a scan of its own, that starts from the state that the one before it left; so what is
recorded are the steps of `triton_step_forward.py` and `triton_step_backward.py` as they are.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fastlstm.ops.arguments import Cotangents, ScanArguments, ScanOutputs
from fastlstm.ops.backward import time_slice
from fastlstm.ops.cuda_graphs import LOCK, Pieces, Tensors, pieces
from fastlstm.ops.gradients import Saved
from fastlstm.ops.triton_calls import new_outputs, state_gradients
from fastlstm.ops.triton_step_backward import LoopOutputs, loop_steps
from fastlstm.ops.triton_step_forward import scan_steps

_CONSTANTS = (
    "reset_h", "reset_c", "weight_hh", "weight_hr", "weight_peephole", "norm_hh", "norm_cell",
    "norm_cell_bias", "recurrent_mask",
)  # fmt: skip
"""What a step reads that is the same for all of them."""

_OF_STEPS = ("lengths", "reset", "zoneout_cell_mask", "zoneout_hidden_mask")
"""What a piece has of its own, beside its states."""


def scan_pieces(arguments: ScanArguments, kept: torch.dtype) -> ScanOutputs:
    """As `scan_steps`."""
    a = arguments
    found = new_outputs(a, kept)
    keeps_all = a.save_every == 1

    def piece(given: Tensors) -> Tensors:
        part = a._replace(**given, save_every=int(keeps_all))
        return scan_steps(part, kept)._asdict()

    h, c = found.h_n, found.c_n
    with LOCK:
        run = Pieces(piece, ("forward", kept, _numbers(a), keeps_all), _given(a, _CONSTANTS)).run
        for here in pieces(len(a.input), 0 if keeps_all else a.save_every, a.reverse):
            if a.save_every > 1 and _starts_chunk(a, here):
                found.cells[here.start // a.save_every] = c
            part = time_slice(a, here)
            of_piece = run({"input": part.input, "h_0": h, "c_0": c, **_given(part, _OF_STEPS)})
            h, c = of_piece["h_n"], of_piece["c_n"]
            found.output[here] = of_piece["output"]
            if keeps_all:
                found.gates[here], found.cells[here] = of_piece["gates"], of_piece["cells"]
        return found._replace(h_n=h.clone(), c_n=c.clone())


def loop_pieces(
    cotangents: Cotangents, arguments: ScanArguments, saved: Saved, recurrent: Tensor | None
) -> LoopOutputs:
    """As `loop_steps`."""
    a = arguments
    found = _outputs_of(a, saved, cotangents)

    def piece(given: Tensors) -> Tensors:
        of_outputs = Cotangents(*(given.get(f"d_{name}") for name in Cotangents._fields))
        gates, cells, of_recurrent = given["gates"], given["cells"], given.get("recurrent")
        of_scan = {name: value for name, value in given.items() if name in ScanArguments._fields}
        part_saved = Saved(gates, gates, cells)  # the output is not read
        part = a._replace(**of_scan, input=gates)
        return _given(loop_steps(of_outputs, part, part_saved, of_recurrent), LoopOutputs._fields)

    with LOCK:
        constants = {"h_0": a.h_0, **_given(a, _CONSTANTS)}
        run = Pieces(piece, ("backward", _numbers(a)), constants).run
        d_h, d_c = found.d_h_0, found.d_c_0
        for here in pieces(len(saved.gates), 0, not a.reverse):
            of_piece = {
                **{f"d_{name}": d[here] for name, d in _given(cotangents, _OF_TIME).items()},
                **_given(time_slice(a, here), _OF_STEPS),
                "d_h_n": d_h,
                "d_c_n": d_c,
                "gates": saved.gates[here],
                "cells": saved.cells[here],
                "c_0": _cell_before(a, saved.cells, here),
            }
            if recurrent is not None:
                of_piece["recurrent"] = recurrent[here]
            parts = run(of_piece)
            d_h, d_c = parts["d_h_0"], parts["d_c_0"]
            for name in ("d_z", "d_recurrent", "d_seen", "d_new_h"):
                if name in parts:
                    getattr(found, name)[here] = parts[name]
            if a.reset is not None:
                found.d_reset_h.add_(parts["d_reset_h"])
                found.d_reset_c.add_(parts["d_reset_c"])
        return found._replace(d_h_0=d_h.clone(), d_c_0=d_c.clone())


_OF_TIME = ("output", "gates", "cells")  # among the cotangents


def _outputs_of(arguments: ScanArguments, saved: Saved, cotangents: Cotangents) -> LoopOutputs:
    """The memory for the gradients; those of the states are what arrives at the end."""
    a = arguments
    steps, normed = len(saved.gates), a.norm_hh is not None
    return LoopOutputs(
        torch.empty_like(saved.gates),
        torch.empty_like(saved.gates) if normed else None,
        a.c_0.new_empty(steps, *a.c_0.shape, dtype=a.state_dtype) if normed else None,
        None if a.weight_hr is None else a.h_0.new_empty(steps, *a.h_0.shape),
        *state_gradients(cotangents, a),
    )


def _cell_before(arguments: ScanArguments, cells: Tensor, here: slice) -> Tensor:
    """The cell state from which the rows start into a piece: (B, H)."""
    a, initial = arguments, arguments.c_0.to(cells.dtype)
    if not a.reverse:
        return cells[here.start - 1] if here.start else initial
    if here.stop == len(cells):
        return initial
    if a.lengths is None:
        return cells[here.stop]
    # Read from the last step to the first, a row starts from its initial state at its own end.
    return torch.where((a.lengths > here.stop).unsqueeze(-1), cells[here.stop], initial)


def _starts_chunk(arguments: ScanArguments, here: slice) -> bool:
    """Whether the state before a piece is one of those that ``save_every`` keeps."""
    every, steps = arguments.save_every, len(arguments.input)
    if arguments.reverse:
        return here.stop == steps or here.stop % every == 0
    return here.start % every == 0


def _given(values: ScanArguments | Cotangents | LoopOutputs, names: tuple[str, ...]) -> Tensors:
    """Those of the named tensors that are there."""
    found = {name: getattr(values, name) for name in names}
    return {name: value for name, value in found.items() if value is not None}


def _numbers(arguments: ScanArguments) -> tuple[float, ...]:
    a = arguments
    return (
        a.zoneout_cell,
        a.zoneout_hidden,
        a.cell_clip,
        a.norm_epsilon,
        a.coupled_gates,
        a.reverse,
    )
