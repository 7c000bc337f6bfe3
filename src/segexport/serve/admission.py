"""Which requests are accepted. All of it happens on the event loop's thread, so nothing is locked."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

from segexport.serve.http_errors import Refused
from segexport.serve.limits import ServerLimits
from segexport.serve.metrics import Metrics

_SMOOTHING = 0.1  # of the mean time of a request
_WORTH_WAITING = 0.5  # of a request's time: what would wait longer is refused at once, not lost to the clock


class Admission:
    """Counts the requests that were accepted and are not answered, and the bytes that they hold."""

    def __init__(self, limits: ServerLimits, metrics: Metrics) -> None:
        self._limits, self._metrics = limits, metrics
        self._inside = self._held_bytes = self._downloads = 0
        self._each_s = 0.0
        self.stopping = False

    @property
    def retry_after_s(self) -> int:
        """When there will be room again, roughly."""
        return max(1, min(60, math.ceil(self._wait_s / 2)))

    def check(self) -> None:
        """Raises Refused (503) while there is no room, or when the server is about to stop."""
        if self.stopping:
            raise Refused(503, "the server is stopping", retry_after_s=5)
        if self._inside >= self._limits.queue or self._wait_s > self._limits.request_s * _WORTH_WAITING:
            raise Refused(
                503,
                f"{self._inside} requests are waiting, which is all that can be answered in time; try again later",
                retry_after_s=self.retry_after_s,
            )

    @contextmanager
    def accepted(self) -> Iterator[None]:
        """A request inside; raises as `check` does."""
        self.check()
        self._count(1)
        try:
            yield
        finally:
            self._count(-1)

    @contextmanager
    def downloading(self) -> Iterator[None]:
        """One more download; raises Refused (503) when there are enough."""
        if self._downloads >= self._limits.downloads:
            raise Refused(503, f"{self._downloads} images are being downloaded; try again later", retry_after_s=2)
        self._downloads += 1
        try:
            yield
        finally:
            self._downloads -= 1

    @contextmanager
    def holding(self) -> Iterator[Held]:
        """What one request holds in memory; given back at the end."""
        held = Held(self)
        try:
            yield held
        finally:
            self.hold(-held.bytes)

    def hold(self, count: int) -> None:
        """So many bytes more; raises Refused (503) when that is too much."""
        if count > 0 and self._held_bytes + count > self._limits.held_bytes:
            raise Refused(503, "the requests inside fill the memory; try again later", retry_after_s=2)
        self._held_bytes += count
        self._metrics.held_bytes.set(self._held_bytes)

    def took(self, seconds: float) -> None:
        """Learns how long one request keeps those behind it waiting."""
        self._each_s += (seconds - self._each_s) * (_SMOOTHING if self._each_s else 1.0)

    @property
    def _wait_s(self) -> float:
        return self._inside * self._each_s

    def _count(self, change: int) -> None:
        self._inside += change
        self._metrics.queue.set(self._inside)


class Held:
    """Bytes that a request holds."""

    def __init__(self, admission: Admission) -> None:
        self._admission, self.bytes = admission, 0

    def hold(self, count: int) -> None:
        """Holds so many bytes, in place of those before; raises Refused (503) when that is too much."""
        self._admission.hold(count - self.bytes)
        self.bytes = count
