"""The ncnn runtime, on the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from segexport.artifact import ModelArtifact
from segexport.measure.audit import Ran
from segexport.runtimes.base import RunOptions, WorkerRuntime, WorkerSession, on_arm
from segexport.spec import Format


class NcnnRuntime(WorkerRuntime):
    """Runs `.param` and `.bin` file pairs; keeps floats in fp16 or bf16 if the manifest's precision is that."""

    name = "ncnn"
    title = "ncnn"
    runs = (Format.NCNN,)
    profiles = True
    worker = "ncnn_worker.py"
    needs = "ncnn"

    def files(self, artifact: ModelArtifact) -> dict[str, Path]:
        return {"model": artifact.file("model"), "params": artifact.file("params")}

    def open(self, artifact: ModelArtifact, options: RunOptions) -> WorkerSession:
        precision = {"precision": artifact.manifest.target.precision.value}
        return super().open(artifact, replace(options, options={**options.options, **precision}))

    def no_fp16(self, ran: Sequence[Ran]) -> str:
        if on_arm():
            return ""
        return "ncnn has no fp16 kernels for this processor: weights are fp16, the arithmetic here is fp32"
