"""Signals that ask a training to end: it does so in order, at the next place where it can."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """Whether a signal has come."""

    def __init__(self) -> None:
        self.received = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Take note of the first signal; the second ends everything at once."""
        if self.received:
            raise KeyboardInterrupt
        self.received = True


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Take SIGINT (Ctrl-C) and SIGTERM as requests to stop.

    Python lets the main thread alone do so; in another one signals work as before.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before: dict[signal.Signals, Any] = {}
    try:
        for number in SIGNALS:
            before[number] = signal.signal(number, request)
        yield request
    finally:
        for number, handler in before.items():
            # None: installed by something other than Python, which cannot put it back.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
