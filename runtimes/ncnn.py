"""The ncnn runtime, on the CPU."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from segexport.artifact import ModelArtifact
from segexport.runtimes.base import RunOptions, WorkerRuntime, WorkerSession, on_arm
from segexport.spec import Format, Precision

_WIDENED = "ncnn has no fp16 arithmetic for this CPU: weights are fp16, the arithmetic here is fp32"


class NcnnRuntime(WorkerRuntime):
    """Runs `.param` and `.bin` file pairs."""

    name = "ncnn"
    title = "ncnn"
    runs = (Format.NCNN,)
    worker = "ncnn_worker.py"
    needs = "ncnn"

    def files(self, artifact: ModelArtifact) -> dict[str, Path]:
        return {"model": artifact.file("model"), "params": artifact.file("params")}

    def open(self, artifact: ModelArtifact, options: RunOptions) -> WorkerSession:
        half = artifact.manifest.target.precision is Precision.FP16
        session = super().open(artifact, replace(options, options={**options.options, "half": half}))
        if half and not on_arm():
            session.info = replace(session.info, not_run=_WIDENED)
        return session
