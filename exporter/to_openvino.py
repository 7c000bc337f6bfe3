"""Converts an ONNX model to OpenVINO: the graph in `.xml`, its constants in `.bin`."""

from __future__ import annotations

from pathlib import Path

from segexport.artifact import LineageEntry, Manifest, ModelArtifact, file_entry
from segexport.exporter.converted import converted
from segexport.exporter.quantized_program import require_float
from segexport.exporter.to_onnx import WORKERS
from segexport.pipeline.step import StepContext, lineage_entry
from segexport.process.worker import Worker
from segexport.spec import Format, Frozen, Precision

OPENVINO_TOOLS = ("openvino",)
MODEL, WEIGHTS = "model.xml", "model.bin"


class ToOpenVino:
    """Converts the operators and constants; folds BatchNorm and constant arithmetic."""

    kind = "to_openvino"
    version = "5"
    accepts = Format.ONNX
    produces = Format.OPENVINO
    needs = OPENVINO_TOOLS
    uses_data = False

    class Params(Frozen):
        """`half`: fp16 constants; OpenVINO computes in fp16 if the processor supports it, else in fp32."""

        half: bool = False

    def __init__(self, params: Params | None = None) -> None:
        self.params = params or self.Params()

    def run(self, source: ModelArtifact, out_dir: Path, context: StepContext) -> Manifest:
        """Writes `model.xml` and `model.bin`.

        Raises:
            UnsupportedModelError: OpenVINO rejects the model or crashes on it; or fp16 is requested for an int8 source.
            Interrupted: The converter was killed from outside, so its support for the model is unknown.
        """
        if self.params.half:
            require_float(source, "fp16")
        arguments = {
            "model": str(source.file("model")),
            "out": str(out_dir / MODEL),
            "half": self.params.half,
            "names": [spec.name for spec in (*source.manifest.inputs, *source.manifest.outputs)],
        }

        def convert() -> str:
            with Worker(WORKERS / "openvino_worker.py", needs=OPENVINO_TOOLS, threads=context.threads) as worker:
                return worker.call("convert", arguments, timeout_s=context.timeout_s)[0]["version"]

        version = converted(convert, "OpenVINO", (out_dir / MODEL, out_dir / WEIGHTS))
        precision = Precision.FP16 if self.params.half else source.manifest.target.precision
        return openvino_manifest(source, out_dir, precision, version, lineage_entry(self, context.key))


def openvino_manifest(
    source: ModelArtifact, out_dir: Path, precision: Precision, version: str, lineage: LineageEntry
) -> Manifest:
    """Builds the manifest of the OpenVINO files from the source's manifest; tensors keep their names.

    Args:
        version: OpenVINO's version.
    """
    before = source.manifest
    return before.model_copy(
        update={
            "format": Format.OPENVINO,
            "files": (file_entry(out_dir, MODEL), file_entry(out_dir, WEIGHTS, "params")),
            "target": before.target.model_copy(
                update={"arch": "any", "precision": precision, "min_runtime_version": version}
            ),
            "lineage": (*before.lineage, lineage),
            "sample": None,
        }
    )
