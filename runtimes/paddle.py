"""Paddle Inference: the runtime of the reference and of every artifact before export."""

from __future__ import annotations

from segexport.artifact import ModelArtifact
from segexport.process.worker import Worker
from segexport.runtimes.base import (
    Availability,
    RunOptions,
    Runtime,
    Session,
    WorkerSession,
    probe_worker,
    start_worker,
)
from segexport.runtimes.watched import WatchedSession, with_graph
from segexport.spec import Format


class PaddleRuntime(Runtime):
    """Runs `.pdmodel` programs on the CPU, and on CUDA if the wheel supports it.

    The option `graph` selects the execution: `plain` (the default) runs operator by operator and gives the masks;
    `optimized` applies Paddle's graph passes, on the CPU with oneDNN, which is several times faster and wrong for some
    networks; `watched` runs plain and compares the optimized program with it (`watched.WatchedSession`).
    """

    name = "paddle"
    title = "Paddle Inference"
    runs = (Format.PADDLE,)

    def probe(self) -> Availability:
        return probe_worker("paddle_worker.py", "paddle")

    def open(self, artifact: ModelArtifact, options: RunOptions) -> Session:
        files = {"model": artifact.file("model"), "params": artifact.file("params")}

        def started() -> Worker:
            return start_worker(self.name, "paddle_worker.py", "paddle", options.threads)

        def opened(graph: str, worker: Worker) -> Session:
            return WorkerSession(self.name, worker, artifact, with_graph(options, graph), files)

        graph = str(options.options.get("graph", "plain"))
        if graph != "watched":
            return opened(graph, started())
        plain, twin = started(), started()  # both import Paddle at the same time
        try:
            session = opened("plain", plain)
        except Exception:
            twin.close()
            raise
        return WatchedSession(session, lambda: opened("optimized", twin))
