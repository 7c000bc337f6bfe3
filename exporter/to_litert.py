"""Writes an ONNX model as a LiteRT file (.tflite) and verifies that the result computes the same.

segexport has its own writer because others failed on five trained networks. onnx2tf 2.6.9 (an environment of 661 MB)
took 10 to 23 seconds per network and converted ESPNet to a model that agrees on 16 % of the pixels, with exit code 0;
its fp16 files have fp16 inputs, and it does not accept known ranges. litert-torch (6.7 GB) converts PyTorch modules,
not ONNX. segexport's writer needs only the package that also runs the models and takes less than a second per network;
all five networks agree with ONNX Runtime.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from segexport.artifact import Manifest, ModelArtifact, TargetDevice, file_entry
from segexport.errors import InputError
from segexport.exporter.converted import converted
from segexport.exporter.quantized_program import require_float
from segexport.exporter.same_as_source import require_same
from segexport.exporter.to_onnx import WORKERS
from segexport.pipeline.step import StepContext, lineage_entry
from segexport.process.worker import Worker
from segexport.runtimes.litert import LiteRtRuntime
from segexport.spec import Format, Frozen, Precision

LITERT_TOOLS = ("ai_edge_litert", "onnx")
MODEL = "model.tflite"


class ToLiteRt:
    """Converts ONNX to `model.tflite`; images and scores become [N, H, W, C]."""

    kind = "to_litert"
    version = "5"
    accepts = Format.ONNX
    produces = Format.LITERT
    needs = LITERT_TOOLS
    uses_data = False

    class Params(Frozen):
        """`precision`: fp16 stores constants in fp16; w8 stores the products' weights in int8, and LiteRT rounds their
        inputs as they come (dynamic quantization).

        An int8 source stays int8, with its ranges and weights, and a w8 source w8, with its weights.
        """

        precision: Literal[Precision.FP32, Precision.FP16, Precision.W8] = Precision.FP32

    def __init__(self, params: Params | None = None) -> None:
        self.params = params or self.Params()

    def run(self, source: ModelArtifact, out_dir: Path, context: StepContext) -> Manifest:
        """Writes `model.tflite`.

        Raises:
            InputError: The input size is dynamic; a LiteRT model has one fixed size here.
            UnsupportedModelError: LiteRT does not support an operator, the result's outputs differ, or fp16 or
                8-bit weights are requested for an int8 source; or the source has 4-bit weights.
            Interrupted: The converter was killed from outside, so its support for the model is unknown.
        """
        _require_sizes(source)
        narrow = source.manifest.target.precision in (Precision.W4, Precision.W4A8)
        if self.params.precision is not Precision.FP32 or narrow:
            require_float(source, f"LiteRT in {self.params.precision.value}")
        manifest = self._convert(source, out_dir, context)
        made = ModelArtifact(out_dir, manifest)
        same = require_same(
            source, made, LiteRtRuntime(), context, lambda cut, folder: self._convert(cut, folder, context)
        )
        lineage = lineage_entry(self, context.key, (same,))
        return manifest.model_copy(update={"lineage": (*source.manifest.lineage, lineage)})

    def _convert(self, source: ModelArtifact, out_dir: Path, context: StepContext) -> Manifest:
        before = source.manifest
        given = before.target.precision
        precision = given if given in (Precision.INT8, Precision.W8) else self.params.precision
        ends = [spec.name for spec in (*before.inputs, *before.outputs) if spec.channels_last is not spec]
        version = convert(source.file("model"), out_dir / MODEL, precision, ends, context)
        return before.model_copy(
            update={
                "format": Format.LITERT,
                "files": (file_entry(out_dir, MODEL),),
                "inputs": tuple(spec.channels_last.in_32_bits() for spec in before.inputs),
                "outputs": tuple(spec.channels_last.in_32_bits() for spec in before.outputs),
                "target": TargetDevice(arch="any", precision=precision, min_runtime_version=version),
                "sample": None,
            }
        )


def convert(onnx: Path, out: Path, precision: Precision, channels_last: list[str], context: StepContext) -> str:
    """Runs the writer; returns LiteRT's version.

    Args:
        channels_last: Inputs and outputs to be stored as [N, H, W, C].

    Raises:
        UnsupportedModelError: LiteRT does not support an operator.
    """
    kept = "fp32" if precision is Precision.INT8 else precision.value  # an int8 model contains its integers
    arguments = {"onnx": str(onnx), "out": str(out), "precision": kept, "channels_last": channels_last}

    def run() -> str:
        with Worker(WORKERS / "litert_convert_worker.py", needs=LITERT_TOOLS, name="the LiteRT writer") as worker:
            return worker.call("convert", arguments, timeout_s=context.timeout_s)[0]["version"]

    return converted(run, "LiteRT", (out,))


def _require_sizes(source: ModelArtifact) -> None:
    for spec in source.manifest.inputs:
        if any(size < 1 for size in spec.shape):
            raise InputError(
                f"input {spec.name!r} is {list(spec.shape)}, and LiteRT's files hold one size",
                hint="give it: --input-size WIDTHxHEIGHT",
            )
