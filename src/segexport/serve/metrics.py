"""The server's Prometheus metrics."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """The metrics, in a separate registry so that two servers in one process do not mix."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self._registry = own = CollectorRegistry()
        self.requests = Counter("segexport_requests", "Answers by status; 499: the client left", ["code"], registry=own)
        self.seconds = Histogram(
            "segexport_request_seconds",
            "From the end of a request's body to its answer, of those with a result",
            registry=own,
            buckets=_SECONDS,
        )
        self.stages = Histogram(
            "segexport_stage_seconds",
            "Parts of that: read, download, turn (waiting), prepare, infer (with its wait), finish",
            ["stage"],
            registry=own,
            buckets=_SECONDS,
        )
        self.queue = Gauge("segexport_queue_requests", "Accepted and not answered yet", registry=own)
        self.held_bytes = Gauge("segexport_held_bytes", "Bodies and answers in memory", registry=own)
        self.workers = Gauge("segexport_workers_ready", "Processes that run the model", registry=own)
        self.restarts = Counter("segexport_worker_restarts", "Processes that died and were started again", registry=own)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Times a part of a request."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.stages.labels(name).observe(time.perf_counter() - start)

    def text(self) -> bytes:
        """Returns the metrics in Prometheus' text format."""
        return generate_latest(self._registry)
