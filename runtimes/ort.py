"""ONNX Runtime: runs the ONNX exports, on the CPU here as on the phone, and on CUDA."""

from __future__ import annotations

from segexport.artifact import ModelArtifact
from segexport.runtimes.base import Availability, RunOptions, Runtime, WorkerSession, open_worker_session, probe_worker
from segexport.spec import Format


class OnnxRuntime(Runtime):
    """Runs `.onnx` files; the provider asked for is the provider used, or it is an error."""

    name = "onnxruntime"
    title = "ONNX Runtime"
    runs = Format.ONNX
    profiles = True

    def probe(self) -> Availability:
        return probe_worker("onnxruntime_worker.py", "onnxruntime")

    def open(self, artifact: ModelArtifact, options: RunOptions) -> WorkerSession:
        files = {"model": artifact.file("model")}
        return open_worker_session(self.name, "onnxruntime_worker.py", "onnxruntime", artifact, options, files)
