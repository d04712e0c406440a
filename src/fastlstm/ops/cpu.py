"""The back end "engine": the compiled CPU kernels.

The engine runs the recurrence, forward and backward, and the large products before and after
it; what surrounds them is the reference's own code. Arrays go to it as DLPack capsules, which
cost a fraction of what any other way of handing over a tensor does.
"""

from typing import Any

import torch
from torch import Tensor

from fastlstm import _engine
from fastlstm.ops import backward, equations
from fastlstm.ops.arguments import BackwardCall, Cotangents, ScanArguments, ScanOutputs, chunk_count
from fastlstm.ops.gradients import Contributions, Forward, Gradients, Kernels, Saved

_DTYPES = (torch.float32, torch.float64)
_ROWS_AT_ONCE = 1024


def refusal(arguments: ScanArguments) -> str | None:
    """Why the engine cannot serve this call, or None."""
    x = arguments.input
    if x.device.type != "cpu":
        return f"it runs on the CPU, and the input is on {x.device}"
    if x.dtype not in _DTYPES:
        return f"it knows float32 and float64, and the input is {x.dtype}"
    if 0 in (arguments.hidden_size, arguments.h_0.shape[-1]):
        return "the layer has no units"
    return None


def scan(arguments: ScanArguments) -> ScanOutputs:
    """Run one layer in one direction over all time steps."""
    x, every = arguments.input, arguments.save_every
    steps, rows, _ = x.shape
    output = x.new_empty(steps, *arguments.h_0.shape)
    h_n, c_n = _like(arguments.h_0), _like(arguments.c_0)
    cells = x.new_empty(equations.saved_shapes(arguments)[1])
    at_once = _steps_at_once(arguments)
    gates = x.new_empty(at_once, rows, arguments.weight_ih.shape[0])
    chunks = [slice(start, min(start + at_once, steps)) for start in range(0, steps, at_once)]
    part = arguments
    for chunk in reversed(chunks) if arguments.reverse else chunks:
        if len(chunks) > 1:
            part = backward.time_slice(arguments, chunk)._replace(h_0=part.h_0, c_0=part.c_0)
        of_chunk = slice(chunk.start // every, chunk_count(chunk.stop, every)) if every else chunk
        part_gates = gates[: chunk.stop - chunk.start]
        _write_input_part(part, part_gates)
        _engine.forward(
            _layer(part),
            _array(part.h_0),
            _array(part.reset_h),
            _array(part_gates),
            every == 1,
            _array(output[chunk]),
            _array(h_n),
            _array(c_n),
            _array(cells[of_chunk]) if every else None,
            every,
            torch.get_num_threads(),
        )
        part = part._replace(h_0=h_n, c_0=c_n)
    return ScanOutputs(output, h_n, c_n, gates if every == 1 else x.new_empty(0), cells)


def _steps_at_once(arguments: ScanArguments) -> int:
    """How many steps' gates are made at a time.

    All where they are kept. Else as many as make the weights' packing cheap, so that the gates
    stay in the cache; and whole stretches between saved states.
    """
    steps, rows, _ = arguments.input.shape
    every = arguments.save_every
    if every == 1 or steps * rows <= 2 * _ROWS_AT_ONCE:
        return steps
    at_once = max(1, _ROWS_AT_ONCE // rows)
    return min(steps, chunk_count(at_once, every) * every if every else at_once)


def _write_input_part(arguments: ScanArguments, gates_x: Tensor) -> None:
    """``W x + b`` of all time steps at once; anything past a row's end."""
    biases = [b for b in (arguments.bias_ih, arguments.bias_hh) if b is not None]
    bias = biases[0] + biases[1] if len(biases) == 2 else biases[0] if biases else None
    norm = arguments.norm_ih
    x, to = arguments.input.flatten(0, 1), gates_x.flatten(0, 1)
    _multiply(x, arguments.weight_ih.t(), to, bias if norm is None else None)
    if norm is not None:
        to.copy_(equations.layer_norm(to, norm, bias, arguments.norm_epsilon))


def scan_backward(call: BackwardCall) -> Gradients:
    """The gradients that are needed."""
    return backward.scan_backward(call, _KERNELS)


def _loop(
    cotangents: Cotangents, arguments: ScanArguments, saved: Saved, forward: Forward
) -> tuple[Contributions, tuple[Tensor, ...]]:
    """The recurrence of the backward pass."""
    norm, resets = arguments.norm_hh is not None, arguments.reset is not None
    d_z = _like(saved.gates)
    d_recurrent = _like(d_z) if norm else d_z
    d_seen = _like(saved.cells) if norm else None
    d_new_h = _like(saved.output) if arguments.weight_hr is not None else None
    d_h_0, d_c_0 = _like(arguments.h_0), _like(arguments.c_0)
    d_reset_h, d_reset_c = torch.zeros_like(d_h_0), torch.zeros_like(d_c_0)
    _engine.backward(
        _layer(arguments),
        _array(saved.gates),
        _array(saved.cells),
        _array(forward.recurrent) if norm else None,
        _array(cotangents.output),
        _array(cotangents.h_n),
        _array(cotangents.c_n),
        _array(cotangents.gates),
        _array(cotangents.cells),
        _array(d_z),
        _array(d_recurrent) if norm else None,
        _array(d_seen),
        _array(d_new_h),
        _array(d_h_0),
        _array(d_c_0),
        _array(d_reset_h) if resets else None,
        _array(d_reset_c) if resets else None,
        torch.get_num_threads(),
    )
    contributions = Contributions(d_z, d_recurrent, d_seen, d_new_h)
    return contributions, (d_h_0, d_c_0, d_reset_h, d_reset_c)


def _product(a: Tensor, b: Tensor) -> Tensor:
    """(n, M, K) and (n, K, N) to (n, M, N)."""
    result = a.new_empty(a.shape[0], a.shape[1], b.shape[2])
    for one, other, out in zip(a, b, result, strict=True):
        _multiply(one, other, out, None)
    return result


_KERNELS = Kernels(scan, _loop, _product)


def _multiply(a: Tensor, b: Tensor, out: Tensor, bias: Tensor | None) -> None:
    to_dlpack = torch._C._to_dlpack  # any strides will do
    _engine.product(to_dlpack(a), to_dlpack(b), _array(bias), _array(out), torch.get_num_threads())


def _layer(arguments: ScanArguments) -> _engine.Layer:
    lengths = arguments.lengths
    return _engine.Layer(
        _array(arguments.c_0),
        _array(arguments.reset_c),
        _array(arguments.weight_hh),
        _array(arguments.weight_hr),
        _array(arguments.weight_peephole),
        _array(arguments.norm_hh),
        _array(arguments.norm_cell),
        _array(arguments.norm_cell_bias),
        None if lengths is None else _array(lengths.long()),
        _array(arguments.reset),
        _array(arguments.recurrent_mask),
        _array(arguments.zoneout_cell_mask),
        _array(arguments.zoneout_hidden_mask),
        arguments.zoneout_cell,
        arguments.zoneout_hidden,
        arguments.cell_clip,
        arguments.norm_epsilon,
        arguments.reverse,
    )


def _array(tensor: Tensor | None) -> Any:
    """The tensor for the engine, which wants it contiguous; the capsule keeps it alive."""
    return None if tensor is None else torch._C._to_dlpack(tensor.contiguous())


def _like(tensor: Tensor) -> Tensor:
    return tensor.new_empty(tensor.shape)
