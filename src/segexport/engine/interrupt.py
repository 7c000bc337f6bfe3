"""Remembers Ctrl-C: Python drops the KeyboardInterrupt if it is raised in a destructor, and Dask has some."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def remembered_interrupt() -> Iterator[Callable[[], bool]]:
    """A block in which Ctrl-C does what it did before; yields a function that tells whether it came.

    Elsewhere than in the main thread, and if Ctrl-C is ignored, the function always returns False.
    """
    before = signal.getsignal(signal.SIGINT) if threading.current_thread() is threading.main_thread() else None
    if not callable(before):
        yield lambda: False
        return
    handled: Callable[[int, FrameType | None], object] = before
    came = threading.Event()

    def remember(number: int, frame: FrameType | None) -> None:
        came.set()
        handled(number, frame)

    signal.signal(signal.SIGINT, remember)
    try:
        yield came.is_set
    finally:
        signal.signal(signal.SIGINT, before)
