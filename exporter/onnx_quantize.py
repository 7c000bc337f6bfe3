"""Static int8 quantization of an fp32 ONNX model, in the form that ONNX Runtime fuses into integer operators.

QDQ, unsigned 8-bit activations, signed 8-bit weights per channel, BatchNorm folded first, Resize left in float (its
int8 kernel is slower). Images are streamed through the model once, however many there are.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Literal

from pydantic import Field

from segexport import preprocess
from segexport.artifact import Manifest, ModelArtifact
from segexport.errors import InputError
from segexport.exporter.to_onnx import WORKERS, onnx_manifest
from segexport.measure.calibration_stability import stability_note
from segexport.process.worker import Worker
from segexport.spec import Format, Frozen, Precision
from segexport.step import StepContext, lineage_entry


class QuantizeOnnx:
    """fp32 ONNX to int8 ONNX, with ranges observed on calibration images."""

    kind = "onnx_int8"
    version = "3"
    accepts = Format.ONNX
    produces = Format.ONNX
    needs = ("onnx", "onnxruntime")
    uses_data = True

    class Params(Frozen):
        """How activation ranges are chosen, and what stays in float.

        Attributes:
            method: `minmax`: all that was seen. `percentile`: all but the outermost `percentile` of it. `mse`: the
                range with the least squared quantization error on the observed histogram.
            percentile: Percent of the observed values that stay inside the range.
            images: Calibration images taken from the data, spread over it.
            float_operators: ONNX operator types that are left in float.
            float_nodes: Names of single operators that are left in float.
        """

        method: Literal["minmax", "percentile", "mse"] = "mse"
        percentile: float = Field(default=99.99, gt=50, le=100)
        images: int = Field(default=32, ge=1)
        float_operators: tuple[str, ...] = ("Resize",)
        float_nodes: tuple[str, ...] = ()

    def __init__(self, params: Params | None = None) -> None:
        self.params = params or self.Params()

    def run(self, source: ModelArtifact, out_dir: Path, context: StepContext) -> Manifest:
        """Writes `model.onnx`.

        Raises:
            InputError: No images, or the model gives NaN or infinity on one of them.
        """
        data = context.images("int8 calibration").subset(self.params.images, context.seed)
        with (
            tempfile.TemporaryDirectory(dir=out_dir) as scratch,
            Worker(WORKERS / "onnx_quantize_worker.py", needs="onnx", threads=context.threads, name="int8") as worker,
        ):
            arguments = {"fp32": str(source.file("model")), "scratch": scratch, **self.params.model_dump(mode="json")}
            worker.call("begin", arguments, timeout_s=context.timeout_s)
            with context.progress("calibrating", len(data)) as bar:
                for sample in data:
                    tensor, _ = preprocess.apply(source.manifest.preprocess, sample.image)
                    answer, _ = worker.call("observe", {}, [tensor], timeout_s=context.timeout_s)
                    if not answer["finite"]:
                        raise InputError(f"{sample.name}: the model gives NaN or infinity on this calibration image")
                    bar.advance()
            out = out_dir / "model.onnx"
            answer, _ = worker.call("quantize", {"out": str(out)}, timeout_s=context.timeout_s)
        notes = (*answer["notes"], stability_note(answer["half_scales"], len(data)))
        lineage = lineage_entry(self, context.key, notes)
        return onnx_manifest(source, out_dir, answer, Precision.INT8, lineage)
