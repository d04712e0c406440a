"""The back end "engine": the compiled CPU kernels.

The engine runs the recurrence, forward and backward, and the large products before and after
it; what surrounds them is the reference's own code. Arrays go to it as DLPack capsules, which
cost a fraction of what any other way of handing over a tensor does.
"""

from typing import Any

import torch
from torch import Tensor

from fastlstm import _engine
from fastlstm.ops import backward, equations, sums
from fastlstm.ops.arguments import (
    DIFFERENTIABLE,
    BackwardCall,
    Cotangents,
    ScanArguments,
    ScanOutputs,
    check_arguments,
    working_dtype,
)
from fastlstm.ops.gradients import Contributions, Forward, Gradients, Kernels, Saved
from fastlstm.ops.sums import NormTotals

READS_TENSORS = _engine.learn_tensor_type(torch.Tensor)  # from PyTorch 2.10 on

_strided = torch._C._to_dlpack  # for the parts of the engine that take any strides
_HAS_BFLOAT16 = _engine.features()["avx512_bf16"]
_NATIVE = (torch.float32, torch.float64)
_WIDENED = (torch.bfloat16, torch.float16)  # calculated in float32


def refusal(arguments: ScanArguments) -> str | None:
    """Why the engine cannot serve this call, or None."""
    x = arguments.input
    if x.device.type != "cpu":
        return f"it runs on the CPU, and the input is on {x.device}"
    if x.dtype not in _NATIVE + _WIDENED:
        return f"it knows float32, float64, bfloat16 and float16, and the input is {x.dtype}"
    if 0 in arguments.c_0.shape[-1:] + arguments.h_0.shape[-1:]:
        return "the layer has no units"
    return None


def scan(arguments: ScanArguments) -> ScanOutputs:
    """Run one layer in one direction over all time steps."""
    if _has_more_than_the_engine_checks(arguments):
        check_arguments(arguments)
    try:
        if arguments.input.dtype in _WIDENED and not _multiplies_bfloat16(arguments):
            return _scan_widened(arguments)
        return _scan(arguments)
    except Exception:
        check_arguments(arguments)  # names the argument as its user knows it
        raise


def _is_plain(arguments: ScanArguments) -> bool:
    """Whether there is nothing in this call but the equations of 1997 and 2000."""
    starts = (arguments.lengths, arguments.reset, arguments.reset_h)
    return all(value is None for value in starts) and not arguments.has_switches


def _multiplies_bfloat16(arguments: ScanArguments) -> bool:
    """Whether the CPU multiplies the numbers of this call as they are: without switches."""
    has_instructions = arguments.input.dtype == torch.bfloat16 and _HAS_BFLOAT16
    return has_instructions and not arguments.has_switches


def _scan_widened(arguments: ScanArguments) -> ScanOutputs:
    check_arguments(arguments)
    found = _scan(equations.in_working_dtype(arguments))
    dtype = arguments.input.dtype
    output, h_n, c_n, gates = (value.to(dtype) for value in found[:-1])
    return ScanOutputs(output, h_n, c_n, gates, found.cells)


def _has_more_than_the_engine_checks(arguments: ScanArguments) -> bool:
    """Whether there are arguments with rules that are not about the shape and dtype of arrays."""
    return (
        arguments.lengths is not None
        or arguments.reset_h is not None
        or arguments.reset_c is not None
        or arguments.norm_ih is not None
        or arguments.norm_hh is not None
        or arguments.norm_cell is not None
        or arguments.coupled_gates
        or arguments.weight_hh.shape[:1] != (4 * arguments.c_0.shape[-1],)
    )


def _scan(arguments: ScanArguments) -> ScanOutputs:
    x, every = arguments.input, arguments.save_every
    if every == 1 and _is_plain(arguments):
        found = _engine.plain_scan(
            x,
            arguments.h_0,
            arguments.c_0,
            arguments.weight_ih,
            arguments.weight_hh,
            arguments.bias_ih,
            arguments.bias_hh,
            arguments.reverse,
            torch.get_num_threads(),
        )
        if found is not None:
            return ScanOutputs(*found)
    output = x.new_empty(x.shape[0], *arguments.h_0.shape)
    h_n, c_n = _like(arguments.h_0), _like(arguments.c_0)
    of_gates, of_cells = equations.saved_shapes(arguments)
    gates, cells = x.new_empty(of_gates), x.new_empty(of_cells, dtype=arguments.state_dtype)
    _engine.forward(
        _layer(arguments),
        _array(x),
        _array(arguments.weight_ih),
        _array(arguments.bias_ih),
        _array(arguments.bias_hh),
        _array(arguments.norm_ih),
        _array(arguments.h_0),
        _array(arguments.reset_h),
        _array(output),
        _array(h_n),
        _array(c_n),
        _array(gates) if every == 1 else None,
        _array(cells) if every else None,
        every,
        torch.get_num_threads(),
    )
    return ScanOutputs(output, h_n, c_n, gates, cells)


def scan_backward(call: BackwardCall) -> Gradients:
    """The gradients that are needed."""
    gradients = _plain_backward(call)
    if gradients is not None:
        return gradients
    as_they_are = call.arguments.save_every == 1 and _multiplies_bfloat16(call.arguments)
    return backward.scan_backward(call, _KERNELS, widens=not as_they_are)


def _plain_backward(call: BackwardCall) -> Gradients | None:
    """The gradients of a plain layer, from one call of the engine; None where it serves no such."""
    arguments, d = call.arguments, call.cotangents
    if call.groups or arguments.save_every != 1 or not _is_plain(arguments):
        return None
    if d.gates is not None or d.cells is not None:
        return None
    needs = dict(zip(DIFFERENTIABLE, call.needs, strict=True))
    d_output, d_h_n, d_c_n = (None if value is None else value.contiguous() for value in d[:3])
    dtype = arguments.input.dtype
    if dtype in _WIDENED:
        d_h_n, d_c_n = (None if value is None else value.float() for value in (d_h_n, d_c_n))
    found = _engine.plain_scan_backward(
        arguments.input,
        arguments.h_0,
        arguments.c_0,
        arguments.weight_ih,
        arguments.weight_hh,
        call.output,
        call.gates,
        call.cells,
        d_output,
        d_h_n,
        d_c_n,
        needs["input"],
        needs["weight_ih"],
        needs["weight_hh"],
        needs["bias_ih"] or needs["bias_hh"],
        arguments.reverse,
        torch.get_num_threads(),
    )
    if found is None:
        return None
    names = ("input", "h_0", "c_0", "weight_ih", "weight_hh", "bias_ih", "bias_hh")
    gradients = zip(names, found, strict=True)
    return {name: value.to(dtype) for name, value in gradients if value is not None}


def _loop(
    cotangents: Cotangents, arguments: ScanArguments, saved: Saved, forward: Forward
) -> tuple[Contributions, tuple[Tensor, ...]]:
    """The recurrence of the backward pass."""
    norm, resets = arguments.norm_hh is not None, arguments.reset is not None
    count = forward.real.count
    d_z = saved.gates.new_empty(count, saved.gates.shape[-1])
    d_recurrent = _like(d_z) if norm else d_z
    d_seen = saved.cells.new_empty(count, saved.cells.shape[-1]) if norm else None
    d_new_h = None
    if arguments.weight_hr is not None:
        d_new_h = saved.output.new_empty(count, saved.output.shape[-1])
    d_h_0, d_c_0 = (
        state.new_empty(state.shape, dtype=arguments.state_dtype)
        for state in (arguments.h_0, arguments.c_0)
    )
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


def _product(
    a: Tensor, b: Tensor, add_to: Tensor | None = None, row_sums: Tensor | None = None
) -> Tensor:
    """See ``sums.Product``."""
    result = add_to
    if result is None:
        result = a.new_empty(a.shape[0], a.shape[1], b.shape[2], dtype=working_dtype(a.dtype))
    for index in range(a.shape[0]):
        _engine.product(
            _strided(a[index]),
            _strided(b[index]),
            _array(result[index]),
            add_to is not None,
            None if row_sums is None else _array(row_sums[index]),
            torch.get_num_threads(),
        )
    return result


def _column_dots(a: Tensor, b: Tensor, add_to: Tensor | None = None) -> Tensor:
    """See ``sums.ColumnDots``."""
    if a.shape[0] != 1:
        return sums.column_dots(a, b, add_to)
    result = a.new_empty(1, a.shape[2]) if add_to is None else add_to
    _engine.column_dots(
        _strided(a[0]),
        _strided(b[0]),
        _array(result[0]),
        add_to is not None,
        torch.get_num_threads(),
    )
    return result


def _norm_totals(d: Tensor, x: Tensor, gain: Tensor | None, epsilon: float) -> NormTotals:
    """See ``sums.LayerNormTotals``."""
    if d.shape[0] != 1:
        return sums.norm_totals(d, x, gain, epsilon)
    d_gain, d_bias = d.new_empty(1, d.shape[2]), d.new_empty(1, d.shape[2])
    d, x = d.contiguous(), x.contiguous()
    d_x = None if gain is None else x
    _engine.norm_totals(
        _array(d[0]),
        _array(x[0]),
        _array(gain),
        epsilon,
        _array(d_gain[0]),
        _array(d_bias[0]),
        None if d_x is None else _array(d_x[0]),
        torch.get_num_threads(),
    )
    return NormTotals(d_gain, d_bias, d_x)


_KERNELS = Kernels(scan, _loop, _product, _column_dots, _norm_totals)


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
    return None if tensor is None else _strided(tensor.contiguous())


def _like(tensor: Tensor) -> Tensor:
    return tensor.new_empty(tensor.shape)
