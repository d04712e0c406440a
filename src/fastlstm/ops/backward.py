"""The backward pass of the scan, in plain PyTorch: what each backward kernel is held to.

Here is what surrounds the derivatives of `gradients.py`: finding the states that each step
started from, recomputing them where only some were kept, and adding up what each stretch of steps
contributes.
"""

import torch
from torch import Tensor

from fastlstm.ops import equations
from fastlstm.ops.arguments import (
    BATCH_DIMENSION,
    DIFFERENTIABLE,
    PARAMETERS,
    Cotangents,
    ScanArguments,
    ScanOutputs,
    chunk_count,
)
from fastlstm.ops.gradients import Gradients, Saved, backward_through


def scan_backward(
    cotangents: Cotangents,
    arguments: ScanArguments,
    output: Tensor,
    gates: Tensor,
    cells: Tensor,
    groups: int = 0,
) -> Gradients:
    """The gradients of every differentiable argument that was given.

    ``output``, ``gates`` and ``cells`` are what the scan returned. With ``groups = g > 0`` the
    rows are g groups of equal size, one after another, and each parameter's gradient has a
    leading dimension g: the gradient that each group contributes. With ``groups = 0`` it is the
    sum over all rows, without that dimension.
    """
    given = {name: getattr(arguments, name) for name in DIFFERENTIABLE}
    arguments = equations.in_working_dtype(arguments)
    cotangents = Cotangents(*(d if d is None else d.to(cells.dtype) for d in cotangents))
    before = hidden_before(arguments, output.to(cells.dtype))
    every = arguments.save_every or arguments.input.shape[0]
    if arguments.save_every == 1:
        saved = Saved(before, cells_before(arguments, cells), gates.to(cells.dtype))
        gradients = backward_through(cotangents, arguments, saved, groups or 1)
    else:
        gradients = _backward_in_chunks(cotangents, arguments, before, cells, every, groups or 1)
    if not groups:
        gradients = {
            name: d.squeeze(0) if name in PARAMETERS else d for name, d in gradients.items()
        }
    return {name: d.to(given[name].dtype) for name, d in gradients.items()}


def hidden_before(arguments: ScanArguments, output: Tensor) -> Tensor:
    """(T, B, R): the hidden state that each step finds; anything past a row's end."""
    return _shifted(arguments, output, arguments.h_0)


def cells_before(arguments: ScanArguments, cells: Tensor) -> Tensor:
    """(T, B, H): the cell state that each step finds; anything past a row's end."""
    return _shifted(arguments, cells, arguments.c_0)


def _shifted(arguments: ScanArguments, states: Tensor, initial: Tensor) -> Tensor:
    if not arguments.reverse:
        return torch.cat((initial.unsqueeze(0), states[:-1]))
    before = torch.cat((states[1:], initial.unsqueeze(0)))
    if arguments.lengths is None:
        return before
    # Read from the last step to the first, a row starts from its initial state at its own end.
    steps = torch.arange(states.shape[0], device=states.device).unsqueeze(-1)
    return torch.where((steps < arguments.lengths - 1).unsqueeze(-1), before, initial)


def _backward_in_chunks(
    cotangents: Cotangents,
    arguments: ScanArguments,
    before: Tensor,
    cells: Tensor,
    every: int,
    groups: int,
) -> Gradients:
    """Recompute ``every`` steps at a time from the state saved before them, the last run first."""
    steps = arguments.input.shape[0]
    starts = range(0, steps, every)
    d_h, d_c = cotangents.h_n, cotangents.c_n
    gradients: Gradients = {}
    d_inputs: list[Tensor] = [before] * chunk_count(steps, every)
    for index in range(len(starts)) if arguments.reverse else reversed(range(len(starts))):
        chunk = slice(starts[index], min(starts[index] + every, steps))
        part = time_slice(arguments, chunk)._replace(
            h_0=before[chunk.stop - 1 if arguments.reverse else chunk.start],
            c_0=cells[index] if cells.numel() else arguments.c_0,
            save_every=1,
        )
        again: ScanOutputs = equations.scan(part)
        saved = Saved(
            hidden_before(part, again.output), cells_before(part, again.cells), again.gates
        )
        part_cotangents = Cotangents(
            None if cotangents.output is None else cotangents.output[chunk], d_h, d_c, None, None
        )
        part_gradients = backward_through(part_cotangents, part, saved, groups)
        d_inputs[index] = part_gradients.pop("input")
        d_h, d_c = part_gradients.pop("h_0"), part_gradients.pop("c_0")
        for name, d in part_gradients.items():
            gradients[name] = gradients[name] + d if name in gradients else d
    assert d_h is not None and d_c is not None  # there is at least one chunk
    return {**gradients, "input": torch.cat(d_inputs), "h_0": d_h, "c_0": d_c}


def time_slice(arguments: ScanArguments, steps: slice) -> ScanArguments:
    """The arguments of a stretch of the steps; its initial state is the caller's to replace."""
    of_time = [name for name, dimension in BATCH_DIMENSION.items() if dimension == 1]
    parts = {name: getattr(arguments, name) for name in of_time}
    parts = {name: value[steps] for name, value in parts.items() if value is not None}
    if arguments.lengths is not None:
        parts["lengths"] = (arguments.lengths.long() - steps.start).clamp(
            0, steps.stop - steps.start
        )
    return arguments._replace(**parts)
