"""Paddle Inference: the reference, and the runtime of every artifact before its export."""

from __future__ import annotations

from segexport.artifact import ModelArtifact
from segexport.runtimes.base import Availability, RunOptions, Runtime, Session, open_worker_session, probe_worker
from segexport.runtimes.watched import WatchedSession, with_graph
from segexport.spec import Format


class PaddleRuntime(Runtime):
    """Runs `.pdmodel` programs on the CPU, and on CUDA where the wheel has it.

    The option `graph` chooses how: `plain` (the default), operator by operator, which is what masks come from;
    `optimized`, by Paddle's graph passes, on the CPU with oneDNN, which is several times as fast and wrong for some
    networks; `watched`, plain, with the optimized program beside it and compared (`watched.WatchedSession`).
    """

    name = "paddle"
    title = "Paddle Inference"
    runs = (Format.PADDLE,)

    def probe(self) -> Availability:
        return probe_worker("paddle_worker.py", "paddle")

    def open(self, artifact: ModelArtifact, options: RunOptions) -> Session:
        files = {"model": artifact.file("model"), "params": artifact.file("params")}

        def opened(graph: str) -> Session:
            how = with_graph(options, graph)
            return open_worker_session(self.name, "paddle_worker.py", "paddle", artifact, how, files)

        graph = str(options.options.get("graph", "plain"))
        if graph == "watched":
            return WatchedSession(opened("plain"), lambda: opened("optimized"))
        return opened(graph)
