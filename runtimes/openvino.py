"""The OpenVINO runtime: runs OpenVINO exports, and ONNX exports as their second runtime."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from segexport.artifact import ModelArtifact
from segexport.measure.audit import Ran
from segexport.runtimes.base import RunOptions, WorkerRuntime, WorkerSession
from segexport.spec import Format


class OpenVinoRuntime(WorkerRuntime):
    """Runs `.xml` with its `.bin`, and `.onnx`; computes floats in fp32, and in fp16 for an fp16 export.

    By default, OpenVINO computes fp32 models in bf16 on CPUs that support it.
    """

    name = "openvino"
    title = "OpenVINO"
    runs = (Format.OPENVINO, Format.ONNX)
    profiles = True
    worker = "openvino_worker.py"
    needs = "openvino"

    def open(self, artifact: ModelArtifact, options: RunOptions) -> WorkerSession:
        precision = {"precision": artifact.manifest.target.precision.value}
        return super().open(artifact, replace(options, options={**options.options, **precision}))

    def no_fp16(self, ran: Sequence[Ran]) -> str:
        return "OpenVINO has no fp16 arithmetic for this processor: weights are fp16, the arithmetic here is fp32"
