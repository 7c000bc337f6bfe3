"""Admission control for requests. Runs on the event loop's thread only, so it needs no locks."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

from segexport.serve.http_errors import Refused
from segexport.serve.limits import ServerLimits
from segexport.serve.metrics import Metrics

_SMOOTHING = 0.1  # smoothing factor of the mean request time
_WORTH_WAITING = 0.5  # fraction of the request timeout: a request that would wait longer is refused immediately


class Admission:
    """Counts accepted requests without a response, and the bytes that they hold."""

    def __init__(self, limits: ServerLimits, metrics: Metrics) -> None:
        self._limits, self._metrics = limits, metrics
        self._inside = self._held_bytes = self._downloads = 0
        self._each_s = 0.0
        self.stopping = False

    @property
    def retry_after_s(self) -> int:
        """Estimates when a request will be accepted again."""
        return max(1, min(60, math.ceil(self._wait_s / 2)))

    def check(self) -> None:
        """Raises Refused (503) if the server is full or stopping."""
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
        """Counts one request while it is processed; raises as `check`."""
        self.check()
        self._count(1)
        try:
            yield
        finally:
            self._count(-1)

    @contextmanager
    def downloading(self) -> Iterator[None]:
        """Counts one download; raises Refused (503) if the limit is reached."""
        if self._downloads >= self._limits.downloads:
            raise Refused(503, f"{self._downloads} images are being downloaded; try again later", retry_after_s=2)
        self._downloads += 1
        try:
            yield
        finally:
            self._downloads -= 1

    @contextmanager
    def holding(self) -> Iterator[Held]:
        """Tracks the memory of one request; releases it at the end."""
        held = Held(self)
        try:
            yield held
        finally:
            self.hold(-held.bytes)

    def hold(self, count: int) -> None:
        """Adds bytes; raises Refused (503) if the limit is exceeded."""
        if count > 0 and self._held_bytes + count > self._limits.held_bytes:
            raise Refused(503, "the requests inside fill the memory; try again later", retry_after_s=2)
        self._held_bytes += count
        self._metrics.held_bytes.set(self._held_bytes)

    def took(self, seconds: float) -> None:
        """Updates the mean request time."""
        self._each_s += (seconds - self._each_s) * (_SMOOTHING if self._each_s else 1.0)

    @property
    def _wait_s(self) -> float:
        return self._inside * self._each_s

    def _count(self, change: int) -> None:
        self._inside += change
        self._metrics.queue.set(self._inside)


class Held:
    """The bytes in memory of one request."""

    def __init__(self, admission: Admission) -> None:
        self._admission, self.bytes = admission, 0

    def hold(self, count: int) -> None:
        """Sets the number of held bytes; raises Refused (503) if the limit is exceeded."""
        self._admission.hold(count - self.bytes)
        self.bytes = count
