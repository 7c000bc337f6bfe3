"""Converts an ONNX model to MNN and verifies that the result computes the same."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Literal

from segexport.artifact import Manifest, ModelArtifact, TargetDevice, file_entry
from segexport.exporter.converted import converted
from segexport.exporter.mnn_hints import hinted, session_hints
from segexport.exporter.mnn_int8 import for_mnn
from segexport.exporter.quantized_program import require_float
from segexport.exporter.same_as_source import require_same
from segexport.exporter.to_onnx import ONNX_TOOLS, WORKERS
from segexport.pipeline.step import StepContext, lineage_entry
from segexport.process.worker import Worker
from segexport.runtimes.mnn import MnnRuntime
from segexport.spec import Format, Frozen, Precision

MNN_VERSION = "3.6"
_OPTIONS: dict[Precision, tuple[str, ...]] = {
    Precision.FP32: (),
    Precision.FP16: ("--fp16",),
    Precision.W8: ("--weightQuantBits", "8"),
}


class ToMnn:
    """Converts ONNX to `model.mnn` with MNN's converter."""

    kind = "to_mnn"
    version = "5"
    accepts = Format.ONNX
    produces = Format.MNN
    needs = ("MNN", *ONNX_TOOLS)
    uses_data = False

    class Params(Frozen):
        """`precision`: fp16 and w8 set the weight type; phones also compute in fp16, w8 computes in float.

        An int8 source stays int8, with its ranges and weights.
        """

        precision: Literal[Precision.FP32, Precision.FP16, Precision.W8] = Precision.FP32

    def __init__(self, params: Params | None = None) -> None:
        self.params = params or self.Params()

    def run(self, source: ModelArtifact, out_dir: Path, context: StepContext) -> Manifest:
        """Writes `model.mnn`.

        Raises:
            UnsupportedModelError: MNN's converter rejects the model or converts it wrongly; or fp16 or 8-bit weights
                are requested for an int8 source.
            Interrupted: The converter was killed from outside, so its support for the model is unknown.
        """
        manifest, notes = self._convert(source, out_dir, context)
        hints, told = session_hints(source, ModelArtifact(out_dir, manifest), context)
        manifest = hinted(manifest, hints)
        made = ModelArtifact(out_dir, manifest)
        same = require_same(
            source,
            made,
            MnnRuntime(),
            context,
            lambda cut, folder: hinted(self._convert(cut, folder, context)[0], hints),
        )
        lineage = lineage_entry(self, context.key, (*notes, *told, same))
        return manifest.model_copy(update={"lineage": (*source.manifest.lineage, lineage)})

    def _convert(self, source: ModelArtifact, out_dir: Path, context: StepContext) -> tuple[Manifest, tuple[str, ...]]:
        """Writes `model.mnn`; returns its manifest and notes."""
        precision, out, notes = self.params.precision, out_dir / "model.mnn", ()
        if source.manifest.target.precision is Precision.INT8:
            if precision is not Precision.FP32:
                require_float(source, precision.value)
            precision = Precision.INT8
            with tempfile.TemporaryDirectory(dir=out_dir) as scratch:
                floats, told, note = for_mnn(source.file("model"), Path(scratch), context)
                convert(floats, out, ("--compressionParamsFile", str(told)), context)
            notes = (note,)
        else:
            convert(source.file("model"), out, _OPTIONS[precision], context)
        before = source.manifest
        manifest = before.model_copy(
            update={
                "format": Format.MNN,
                "files": (file_entry(out_dir, "model.mnn"),),
                "inputs": tuple(spec.in_32_bits() for spec in before.inputs),
                "outputs": tuple(spec.in_32_bits() for spec in before.outputs),
                "target": TargetDevice(arch="any", precision=precision, min_runtime_version=MNN_VERSION),
                "sample": None,
            }
        )
        return manifest, notes


def convert(onnx: Path, out: Path, options: tuple[str, ...], context: StepContext) -> None:
    """Runs MNN's converter with the given options.

    Raises:
        UnsupportedModelError: The converter rejects the model, crashes or writes no model.
    """
    with tempfile.TemporaryDirectory(dir=out.parent) as scratch:
        prepared = str(Path(scratch) / "model.onnx")
        with Worker(WORKERS / "onnx_for_mnn_worker.py", needs=ONNX_TOOLS, name="onnx") as worker:
            worker.call("prepare", {"onnx": str(onnx), "out": prepared}, timeout_s=context.timeout_s)
        arguments = {"model": prepared, "source_format": "ONNX", "out": str(out), "options": list(options)}

        def run() -> None:
            with Worker(WORKERS / "mnn_convert_worker.py", needs="MNN", name="MNN's converter") as worker:
                worker.call("convert", arguments, timeout_s=context.timeout_s)

        converted(run, "MNN", (out,))


def operators(model: Path, timeout_s: float) -> list[tuple[str, str, int]]:
    """Returns type, name and integer weight bits (0 if none) of each operator in an MNN file."""
    with Worker(WORKERS / "mnn_convert_worker.py", needs="MNN", name="MNN's converter") as worker:
        answer, _ = worker.call("describe", {"model": str(model)}, timeout_s=timeout_s)
    return [(kind, name, bits) for kind, name, bits in answer["operators"]]
