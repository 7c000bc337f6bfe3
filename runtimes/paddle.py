"""Paddle Inference: the reference, and the runtime of every artifact before its export."""

from __future__ import annotations

from segexport.artifact import ModelArtifact
from segexport.runtimes.base import Availability, RunOptions, Runtime, WorkerSession, open_worker_session, probe_worker
from segexport.spec import Format


class Paddle(Runtime):
    """Runs `.pdmodel` programs on the CPU (oneDNN, self-checked) and on CUDA where the wheel has it."""

    name = "paddle"
    title = "Paddle Inference"
    runs = Format.PADDLE

    def probe(self) -> Availability:
        return probe_worker("paddle_worker.py", "paddle")

    def open(self, artifact: ModelArtifact, options: RunOptions) -> WorkerSession:
        files = {"model": artifact.file("model"), "params": artifact.file("params")}
        return open_worker_session(self.name, "paddle_worker.py", "paddle", artifact, options, files)
