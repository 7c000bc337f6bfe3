"""Tells whether tasks of several threads ran at the same time: then any of them may have ended a lost worker."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from segexport.engine.quiet import QuietMachine


class Rounds:
    """Rounds of tasks of several threads, and a round that runs by itself.

    That one waits until no other runs, which may be at the end of all work: others that come meanwhile go first.

    Args:
        require_going: Called while waiting; raises if the work was stopped.
    """

    def __init__(self, require_going: Callable[[], None]) -> None:
        self._turns = QuietMachine(require_going)
        self._lock = threading.Lock()
        self._begun = self._running = 0

    @contextmanager
    def together(self) -> Iterator[Callable[[], bool]]:
        """A round beside others; yields what tells whether there was another one up to now."""
        with self._turns.loading():
            with self._lock:
                self._begun, self._running = self._begun + 1, self._running + 1
                number, shared = self._begun, self._running > 1
            try:
                yield lambda: shared or self._begun > number
            finally:
                with self._lock:
                    self._running -= 1

    def alone(self) -> AbstractContextManager[None]:
        """A round beside which there is no other; never inside of `together` of the same thread."""
        return self._turns.measuring()
