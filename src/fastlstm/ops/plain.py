"""Plain layers without gradients, in one call of the engine.

One step of a small layer takes the engine a few microseconds, and what surrounds the operators in
Python ten times as long. So a call that needs nothing of it goes straight from the layer to the
engine. Here is which call that is; everything else about it is as through the operators.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import Parameter

from fastlstm import _engine
from fastlstm.ops import backends, cpu, eager
from fastlstm.ops.scan import forward_mode_is_active


class Form(NamedTuple):
    """How the tensors of a call lie."""

    has_steps: bool  # the input is (T, B, I) or (T, I), not (B, I) or (I)
    batch_first: bool  # ... or (B, T, I)
    stacked: bool  # the states are (layers, B, H), with an output beside them; else (B, H), alone


def run(
    input: Tensor,
    states: tuple[Tensor, Tensor] | None,
    parameters: list[Tensor],
    biased: bool,
    form: Form,
) -> tuple | None:
    """Run layers of the equations of 1997 and 2000, in one direction, on all steps.

    Args:
        input: what the first layer reads.
        states: ``(h_0, c_0)``, or None for zeros.
        parameters: two tensors for each layer, or four, in ``nn.LSTM``'s order.
        biased: whether they are four.
        form: how the tensors lie.

    Returns:
        ``(output, (h_n, c_n))``, or ``(h_n, c_n)`` if not ``form.stacked``. None where the call is
        not one for this way, or not a right one: the way through the operators serves it, or says
        what is wrong.
    """
    if not cpu.READS_TENSORS or backends.forced() not in ("", backends.ENGINE.name):
        return None
    first = parameters[0]
    if torch.is_grad_enabled() and type(first) is Parameter and first.requires_grad:
        return None  # what training comes to, found out at once
    h_0, c_0 = (None, None) if states is None else states
    if states is not None and (h_0 is None or c_0 is None):
        return None
    tensors = (*parameters, input, h_0, c_0)
    if forward_mode_is_active() or not eager.is_plain(tensors):
        return None
    if torch.is_grad_enabled():
        for tensor in tensors:
            if tensor is not None and tensor.requires_grad:
                return None
    return _engine.plain_layers(input, h_0, c_0, parameters, biased, *form, torch.get_num_threads())
