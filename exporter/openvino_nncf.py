"""Quantizes OpenVINO models to int8 with NNCF, Intel's quantizer, with its own ranges and bias correction."""

from __future__ import annotations

import tempfile
from pathlib import Path

from pydantic import Field

from segexport import preprocess
from segexport.artifact import Manifest, ModelArtifact
from segexport.exporter.calibration_images import checked_images
from segexport.exporter.quantized_program import require_float
from segexport.exporter.to_onnx import WORKERS
from segexport.exporter.to_openvino import MODEL, openvino_manifest
from segexport.pipeline.step import StepContext, lineage_entry
from segexport.process.worker import Worker
from segexport.spec import Format, Frozen, Precision

_TOOLS = ("nncf", "openvino")


class QuantizeWithNncf:
    """Converts fp32 to int8: asymmetric activations, symmetric weights per channel, corrected biases."""

    kind = "openvino_nncf"
    version = "6"
    accepts = Format.OPENVINO
    produces = Format.OPENVINO
    needs = _TOOLS
    uses_data = True

    class Params(Frozen):
        """NNCF's parameters.

        Attributes:
            images: Number of calibration images, spread over the data.
            fast_bias_correction: Whether to correct layers independently; else one after another, with many more runs.
        """

        images: int = Field(default=32, ge=1)
        fast_bias_correction: bool = True

    def __init__(self, params: Params | None = None) -> None:
        self.params = params or self.Params()

    def run(self, source: ModelArtifact, out_dir: Path, context: StepContext) -> Manifest:
        """Writes `model.xml` and `model.bin`.

        Raises:
            UnsupportedModelError: The model is already in int8.
            InputError: There are no images, or they are uniform.
        """
        require_float(source, "NNCF")
        data = context.images("int8 calibration").subset(self.params.images, context.seed)
        data = data.read_for(source.manifest.preprocess)
        checked = checked_images(data, source)
        notes = list(checked.notes)
        with (
            tempfile.TemporaryDirectory(dir=out_dir) as scratch,
            Worker(WORKERS / "nncf_worker.py", needs=_TOOLS, threads=context.threads, name="nncf") as worker,
        ):
            begun = {"model": str(source.file("model")), "scratch": scratch}
            worker.call("begin", begun, timeout_s=context.timeout_s)
            with context.progress("calibrating", len(data)) as bar:
                for sample in data:
                    tensor, placement = preprocess.example(source.manifest.preprocess, sample.image)
                    tensors = preprocess.feed(source.manifest.inputs, tensor, placement)
                    worker.call("observe", {}, tensors, timeout_s=context.timeout_s)
                    bar.advance()
            asked = {"out": str(out_dir / MODEL), "fast_bias_correction": self.params.fast_bias_correction}
            answer, _ = worker.call("quantize", asked, timeout_s=context.timeout_s)
        notes.insert(0, f"int8: {answer['rounded']} roundings by NNCF {answer['nncf']}, {len(data)} images")
        lineage = lineage_entry(self, context.key, tuple(notes), checked.statistics)
        return openvino_manifest(source, out_dir, Precision.INT8, answer["openvino"], lineage)
