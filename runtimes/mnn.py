"""The MNN runtime, on the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from segexport.artifact import ModelArtifact
from segexport.measure.audit import Ran
from segexport.runtimes.base import RunOptions, WorkerRuntime, WorkerSession, on_arm
from segexport.spec import Format, Precision

_HINTS = {"WINOGRAD_MEMORY_LEVEL": 3}  # `Interpreter::HintMode`, which MNN's Python takes as a number


class MnnRuntime(WorkerRuntime):
    """Runs `.mnn` files."""

    name = "mnn"
    title = "MNN"
    runs = (Format.MNN,)
    profiles = True
    worker = "mnn_worker.py"
    needs = "MNN"

    def open(self, artifact: ModelArtifact, options: RunOptions) -> WorkerSession:
        half = artifact.manifest.target.precision is Precision.FP16
        more = {"half": half, "hints": hints_of(artifact)}
        return super().open(artifact, replace(options, options={**options.options, **more}))

    def no_fp16(self, ran: Sequence[Ran]) -> str:
        if on_arm():
            return ""
        return "MNN has no fp16 kernels for this CPU: weights are fp16, the arithmetic here is fp32"


def hints_of(artifact: ModelArtifact) -> list[list[int]]:
    """The session hints that the manifest demands: MNN's number of each, and its value."""
    return [[_HINTS[name], value] for name, value in artifact.manifest.target.hints.items()]
