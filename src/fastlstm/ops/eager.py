"""Which calls need nothing of PyTorch's dispatcher.

To go through an operator costs tens of microseconds in Python, more than a short sequence takes to
compute. In eager mode, on dense tensors of the CPU, the dispatcher would only pass the call on; so
such a call goes straight to its back end. Everything else (a transform, a mode, a subclass,
autocast, a compiler, a profiler, another device) goes through the operator.
"""

import threading
from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import Parameter

_PLAIN_TYPES = (Tensor, Parameter)

ThreadState = tuple[int, int]
"""Which dispatch keys the thread adds to those of the tensors, and which it leaves out."""


def is_plain(tensors: Iterable[Tensor | None]) -> bool:
    """Whether an operator on these tensors would be passed straight on to its back end."""
    if torch.compiler.is_compiling() or _thread_state() not in _PLAIN_STATES:
        return False
    if torch.autograd.profiler._is_profiler_enabled:
        return False
    for tensor in tensors:
        if tensor is None:
            continue
        if type(tensor) not in _PLAIN_TYPES:  # a subclass may know of functions what no key says
            return False
        if torch._C._dispatch_keys(tensor).raw_repr() not in _PLAIN_KEYS:
            return False
    return True


def _thread_state() -> ThreadState:
    return (
        torch._C._dispatch_tls_local_include_set().raw_repr(),
        torch._C._dispatch_tls_local_exclude_set().raw_repr(),
    )


def _plain_states_and_keys() -> tuple[set[ThreadState], set[int]]:
    """The states, and the keys of tensors, of a thread in no mode and of one in inference mode."""
    states, keys = set(), set()
    for inference in (False, True):
        with torch.inference_mode(inference):
            states.add(_thread_state())
            keys.add(torch._C._dispatch_keys(torch.empty(0, device="cpu")).raw_repr())
    return states, keys


def _in_a_fresh_thread() -> tuple[set[ThreadState], set[int]]:
    """The importing thread may be in any mode; a new one is in none."""
    found = []
    thread = threading.Thread(target=lambda: found.append(_plain_states_and_keys()))
    thread.start()
    thread.join()
    return found[0]


_PLAIN_STATES, _PLAIN_KEYS = _in_a_fresh_thread()
