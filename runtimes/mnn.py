"""MNN: runs its own format, on the CPU here as on the phone."""

from __future__ import annotations

from dataclasses import replace

from segexport.artifact import ModelArtifact
from segexport.runtimes.base import Availability, RunOptions, Runtime, WorkerSession, open_worker_session, probe_worker
from segexport.spec import Format, Precision


class Mnn(Runtime):
    """Runs `.mnn` files."""

    name = "mnn"
    title = "MNN"
    runs = Format.MNN
    profiles = True

    def probe(self) -> Availability:
        return probe_worker("mnn_worker.py", "MNN")

    def open(self, artifact: ModelArtifact, options: RunOptions) -> WorkerSession:
        half = artifact.manifest.target.precision is Precision.FP16
        options = replace(options, options={**options.options, "half": half})
        return open_worker_session(
            self.name, "mnn_worker.py", "MNN", artifact, options, {"model": artifact.file("model")}
        )
