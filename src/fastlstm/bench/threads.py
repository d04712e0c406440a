"""Keep a process to a number of threads, and of cores where the system can."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def cores() -> int:
    """How many cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def pinned(threads: int) -> Iterator[None]:
    """Give torch, and every library that is loaded inside, this many threads on as many cores.

    A library that asks the system for the number of cores (XLA's is one) learns this number.
    Elsewhere than on Linux torch's threads are set alone.
    """
    threads_before = torch.get_num_threads()
    # Other systems' `os` lacks these two.
    can_pin = hasattr(os, "sched_setaffinity")
    cores_before = os.sched_getaffinity(0) if can_pin else set()
    torch.set_num_threads(threads)
    if can_pin:
        # The last ones: the first core of a machine serves most of its interrupts.
        os.sched_setaffinity(0, sorted(cores_before)[-threads:])
    try:
        yield
    finally:
        torch.set_num_threads(threads_before)
        if can_pin:
            os.sched_setaffinity(0, cores_before)
