"""Keeps the work of several threads off this machine while times are taken."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_LOOK_EVERY_S = 0.5


class QuietMachine:
    """Many blocks that load the machine, or one that measures time.

    A measurement waits until no loading block is left, so that times are taken after the counting.

    Args:
        require_going: Called while waiting; raises if the work was stopped.
    """

    def __init__(self, require_going: Callable[[], None]) -> None:
        self._require_going = require_going
        self._changed = threading.Condition()
        self._loading = 0
        self._measuring = False

    @contextmanager
    def loading(self) -> Iterator[None]:
        """A block that loads the machine; it begins when no measurement is under way."""
        with self._changed:
            self._wait(lambda: not self._measuring)
            self._loading += 1
        try:
            yield
        finally:
            with self._changed:
                self._loading -= 1
                self._changed.notify_all()

    @contextmanager
    def measuring(self) -> Iterator[None]:
        """A block that needs the machine alone; never inside of `loading` of the same thread."""
        with self._changed:
            self._wait(lambda: not self._measuring and not self._loading)
            self._measuring = True
        try:
            yield
        finally:
            with self._changed:
                self._measuring = False
                self._changed.notify_all()

    def _wait(self, ready: Callable[[], bool]) -> None:
        while not ready():
            self._require_going()
            self._changed.wait(_LOOK_EVERY_S)
