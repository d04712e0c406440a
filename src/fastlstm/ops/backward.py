"""The backward pass of the scan, in plain PyTorch: what each backward kernel is held to.

Here is what surrounds the derivatives of `gradients.py`: recomputing the states where only some
were kept, and adding up what each stretch of steps contributes.
"""

from collections.abc import Set

import torch
from torch import Tensor

from fastlstm.ops import equations
from fastlstm.ops.arguments import (
    BATCH_DIMENSION,
    DIFFERENTIABLE,
    PARAMETERS,
    BackwardCall,
    Cotangents,
    ScanArguments,
    chunk_count,
)
from fastlstm.ops.gradients import (
    REFERENCE_KERNELS,
    Forward,
    Gradients,
    Kernels,
    Saved,
)
from fastlstm.ops.totals import input_gradients, parameter_gradients


def scan_backward(
    call: BackwardCall, kernels: Kernels = REFERENCE_KERNELS, widens: bool = True
) -> Gradients:
    """The gradients of the arguments, those that are needed among them; ``kernels`` do the work.

    With ``widens`` they get 16-bit floats as float32; else as they are, but for what is summed up
    over the steps.

    With ``groups = g > 0`` the rows are g groups of equal size, one after another, and each
    parameter's gradient has a leading dimension g: the gradient that each group contributes. With
    ``groups = 0`` it is the sum over all rows, without that dimension.
    """
    needed = {name for name, need in zip(DIFFERENTIABLE, call.needs, strict=True) if need}
    arguments, cotangents = call.arguments, call.cotangents
    saved = Saved(call.output, call.gates, call.cells)
    of_call, dtype = arguments.input.dtype, arguments.state_dtype
    if dtype != of_call:
        d_h_n, d_c_n = (d if d is None else d.to(dtype) for d in cotangents[1:3])
        cotangents = cotangents._replace(h_n=d_h_n, c_n=d_c_n)
    if dtype != of_call and widens:
        arguments = equations.in_working_dtype(arguments)
        cotangents = Cotangents(*(d if d is None else d.to(dtype) for d in cotangents))
        saved = Saved(*(value.to(dtype) for value in saved))
    run = _backward_through if arguments.save_every == 1 else _backward_in_chunks
    gradients = run(cotangents, arguments, saved, needed, call.groups or 1, kernels)
    if not call.groups:
        for name in gradients.keys() & PARAMETERS:
            gradients[name] = gradients[name].squeeze(0)
    return {name: d.to(of_call) for name, d in gradients.items()}


def _backward_through(
    cotangents: Cotangents,
    arguments: ScanArguments,
    saved: Saved,
    needed: Set[str],
    groups: int,
    kernels: Kernels,
) -> Gradients:
    """The gradients where every gate and state is at hand.

    Each parameter's has a leading dimension: one for each of the ``groups`` of rows. Products over
    all steps are left out where nobody needs them.
    """
    forward = Forward(arguments, saved, kernels.product, kernels.real_steps)
    contributions, of_states = kernels.loop(cotangents, arguments, saved, forward)
    gradients = parameter_gradients(arguments, forward, contributions, needed, groups, kernels)
    d_z, real = contributions.d_z, forward.real
    del forward, contributions  # so that what follows takes their memory
    gradients.update(input_gradients(arguments, d_z, real, needed, groups, kernels))
    names = ("h_0", "c_0", "reset_h", "reset_c")
    gradients.update(
        (name, d)
        for name, d in zip(names, of_states, strict=True)
        if getattr(arguments, name) is not None
    )
    return gradients


def _backward_in_chunks(
    cotangents: Cotangents,
    arguments: ScanArguments,
    saved: Saved,
    needed: Set[str],
    groups: int,
    kernels: Kernels,
) -> Gradients:
    """Recompute some steps at a time from the state saved before them, the last run first."""
    steps = arguments.input.shape[0]
    every = arguments.save_every or steps
    before = _hidden_before(arguments, saved.output)
    starts = range(0, steps, every)
    d_h, d_c = cotangents.h_n, cotangents.c_n
    gradients: Gradients = {}
    d_inputs: list[Tensor] = [before] * chunk_count(steps, every)
    for index in range(len(starts)) if arguments.reverse else reversed(range(len(starts))):
        chunk = slice(starts[index], min(starts[index] + every, steps))
        part = time_slice(arguments, chunk)._replace(
            h_0=before[chunk.stop - 1 if arguments.reverse else chunk.start],
            c_0=saved.cells[index] if saved.cells.numel() else arguments.c_0,
            save_every=1,
        )
        again = kernels.scan(part)
        part_cotangents = Cotangents(
            None if cotangents.output is None else cotangents.output[chunk], d_h, d_c, None, None
        )
        part_saved = Saved(again.output, again.gates, again.cells)
        part_gradients = _backward_through(
            part_cotangents, part, part_saved, needed, groups, kernels
        )
        if "input" in needed:
            d_inputs[index] = part_gradients.pop("input")
        d_h, d_c = part_gradients.pop("h_0"), part_gradients.pop("c_0")
        for name, d in part_gradients.items():
            gradients[name] = gradients[name] + d if name in gradients else d
    assert d_h is not None and d_c is not None  # there is at least one chunk
    if "input" in needed:
        gradients["input"] = torch.cat(d_inputs)
    return {**gradients, "h_0": d_h, "c_0": d_c}


def _hidden_before(arguments: ScanArguments, output: Tensor) -> Tensor:
    """(T, B, R): the hidden state that each step finds; anything past a row's end."""
    initial = arguments.h_0
    if not arguments.reverse:
        return torch.cat((initial.unsqueeze(0), output[:-1]))
    before = torch.cat((output[1:], initial.unsqueeze(0)))
    if arguments.lengths is None:
        return before
    # Read from the last step to the first, a row starts from its initial state at its own end.
    steps = torch.arange(output.shape[0], device=output.device).unsqueeze(-1)
    return torch.where((steps < arguments.lengths - 1).unsqueeze(-1), before, initial)


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
