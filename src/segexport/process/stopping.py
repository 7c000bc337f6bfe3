"""Stops the work of a thread from outside: what waits in it for a process asks here whether to go on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from segexport.progress import Bar


class Stopped(BaseException):
    """Nobody wants the result of this thread's work any more.

    Not an `Exception`: no handler may take it for a failure of the work.
    """


class _Thread(threading.local):
    stopped: Callable[[], bool] | None = None


_THREAD = _Thread()


@contextmanager
def stoppable(stopped: Callable[[], bool]) -> Iterator[None]:
    """A block that `require_going` ends once `stopped` returns True; for the current thread."""
    before, _THREAD.stopped = _THREAD.stopped, stopped
    try:
        yield
    finally:
        _THREAD.stopped = before


def require_going() -> None:
    """Raises Stopped if this thread's work is no longer wanted."""
    if _THREAD.stopped is not None and _THREAD.stopped():
        raise Stopped


class _Going:
    def advance(self, count: int = 1) -> None:
        require_going()


@contextmanager
def until_stopped(_title: str, _total: int | None = None) -> Iterator[Bar]:
    """A Progress that ends this thread's work once it is no longer wanted."""
    yield _Going()
