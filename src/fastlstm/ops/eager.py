"""Which calls need nothing of PyTorch's dispatcher.

To go through an operator costs tens of microseconds in Python, more than a short sequence takes to
compute. In eager mode, on dense tensors of a CPU or GPU, the dispatcher would only pass the call
on; so such a call goes straight to its back end. Everything else (a transform, a mode, a subclass,
autocast, a compiler, a profiler, another device) goes through the operator.
"""

import threading
from collections.abc import Iterable
from functools import cache

import torch
from torch import Tensor
from torch.nn import Parameter

_PLAIN_TYPES = (Tensor, Parameter)

ThreadState = tuple[int, int]
"""Which dispatch keys the thread adds to those of the tensors, and which it leaves out."""


def is_plain(tensors: Iterable[Tensor | None], device_type: str = "cpu") -> bool:
    """Whether an operator on these tensors would be passed straight on to its back end.

    Args:
        tensors: those of the call.
        device_type: where all of them must be.
    """
    if torch.compiler.is_compiling() or torch.autograd.profiler._is_profiler_enabled:
        return False
    return is_untransformed(tensors, device_type)


def is_untransformed(tensors: Iterable[Tensor | None], device_type: str) -> bool:
    """Whether nothing but autograd, or a profiler, would look at a call with these tensors."""
    if torch.compiler.is_compiling() or _thread_state() not in _PLAIN_STATES:
        return False
    keys = _plain_keys(device_type)
    for tensor in tensors:
        if tensor is None:
            continue
        if type(tensor) not in _PLAIN_TYPES:  # a subclass may know of functions what no key says
            return False
        if torch._C._dispatch_keys(tensor).raw_repr() not in keys:
            return False
    return True


def _thread_state() -> ThreadState:
    return (
        torch._C._dispatch_tls_local_include_set().raw_repr(),
        torch._C._dispatch_tls_local_exclude_set().raw_repr(),
    )


@cache
def _plain_keys(device_type: str) -> frozenset[int]:
    """The keys of a tensor on such a device, and of one in inference mode; none for other devices.

    The calling thread may be in any mode; a new one is in none.
    """
    if device_type not in _DEVICES:
        return frozenset()
    return frozenset(keys for _, keys in _in_a_fresh_thread(device_type))


def _in_a_fresh_thread(device_type: str) -> list[tuple[ThreadState, int]]:
    """The state of a thread in no mode and of one in inference mode, with the keys of a tensor."""
    found = []

    def find() -> None:
        for inference in (False, True):
            with torch.inference_mode(inference):
                tensor = torch.empty(0, device=device_type)
                found.append((_thread_state(), torch._C._dispatch_keys(tensor).raw_repr()))

    thread = threading.Thread(target=find)
    thread.start()
    thread.join()
    return found


_DEVICES = ("cpu", "cuda", "xpu")
_PLAIN_STATES = {state for state, _ in _in_a_fresh_thread("cpu")}
