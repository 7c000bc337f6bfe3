"""Converts an fp32 ONNX model to fp16, half the size; inputs and outputs stay fp32."""

from __future__ import annotations

from pathlib import Path

from segexport.artifact import Manifest, ModelArtifact, warning
from segexport.exporter.quantized_program import require_float
from segexport.exporter.to_onnx import ONNX_TOOLS, WORKERS, onnx_manifest
from segexport.pipeline.step import StepContext, lineage_entry
from segexport.process.worker import Worker
from segexport.spec import Format, Frozen, Precision

_NAMED = 4  # most products that a note lists


class HalfOnnx:
    """Converts to fp16 all but products whose weights it cannot hold, with casts at inputs and outputs."""

    kind = "onnx_fp16"
    version = "3"
    accepts = Format.ONNX
    produces = Format.ONNX
    needs = ("onnx", "onnxruntime")
    uses_data = False

    class Params(Frozen):
        """No parameters."""

    def __init__(self, params: Params | None = None) -> None:
        self.params = params or self.Params()

    def run(self, source: ModelArtifact, out_dir: Path, context: StepContext) -> Manifest:
        """Writes `model.onnx`.

        Raises:
            UnsupportedModelError: The model is in int8.
        """
        require_float(source, "fp16")
        arguments = {"fp32": str(source.file("model")), "out": str(out_dir / "model.onnx")}
        with Worker(WORKERS / "onnx_worker.py", needs=ONNX_TOOLS, threads=context.threads, name="onnx") as worker:
            answer, _ = worker.call("half", arguments, timeout_s=context.timeout_s)
        notes = []
        if outside := answer["outside"]:
            named = ", ".join(outside[:_NAMED]) + (", ..." if len(outside) > _NAMED else "")
            notes.append(
                warning(f"products that stay in fp32, because fp16 cannot hold their weights: {len(outside)} ({named})")
            )
        lineage = lineage_entry(self, context.key, tuple(notes))
        return onnx_manifest(source, out_dir, answer, Precision.FP16, lineage)
