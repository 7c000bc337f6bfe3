"""Converts an ONNX model to MNN and verifies that the result computes the same."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from segexport.artifact import Manifest, ModelArtifact, TargetDevice, file_entry
from segexport.exporter.converted import converted
from segexport.exporter.mnn_hints import hinted, session_hints
from segexport.exporter.mnn_int8 import for_mnn
from segexport.exporter.quantized_program import require_float
from segexport.exporter.same_as_source import require_same
from segexport.exporter.to_onnx import ONNX_TOOLS, WORKERS
from segexport.exporter.unquantized_onnx import widened_onnx
from segexport.pipeline.step import StepContext, lineage_entry
from segexport.process.worker import Worker
from segexport.runtimes.mnn import MnnRuntime
from segexport.spec import Format, Frozen, Precision

MNN_VERSION = "3.6"


class ToMnn:
    """Converts ONNX to `model.mnn` with MNN's converter."""

    kind = "to_mnn"
    version = "6"
    accepts = Format.ONNX
    produces = Format.MNN
    needs = ("MNN", *ONNX_TOOLS)
    uses_data = False

    class Params(Frozen):
        """`half`: fp16 weights; phones also compute in it.

        An int8 source stays int8, and one with stored weights keeps them and computes in float.
        """

        half: bool = False

    def __init__(self, params: Params | None = None) -> None:
        self.params = params or self.Params()

    def run(self, source: ModelArtifact, out_dir: Path, context: StepContext) -> Manifest:
        """Writes `model.mnn`.

        Raises:
            UnsupportedModelError: MNN's converter rejects the model or converts it wrongly; or fp16 is requested for a
                source that is not fp32, or the source is w4a8.
            Interrupted: The converter was killed from outside, so its support for the model is unknown.
        """
        manifest, notes, in_float = self._convert(source, out_dir, context)
        hints, told = session_hints(source, ModelArtifact(out_dir, manifest), context)
        manifest = hinted(manifest, hints)
        made = ModelArtifact(out_dir, manifest)
        same = require_same(
            source,
            made,
            MnnRuntime(),
            context,
            lambda cut, folder: hinted(self._convert(cut, folder, context)[0], hints),
            in_float=in_float,
        )
        lineage = lineage_entry(self, context.key, (*notes, *told, same))
        return manifest.model_copy(update={"lineage": (*source.manifest.lineage, lineage)})

    def _convert(
        self, source: ModelArtifact, out_dir: Path, context: StepContext
    ) -> tuple[Manifest, tuple[str, ...], bool]:
        """Writes `model.mnn`; returns its manifest, notes, and whether it computes in fp32 with equal weights."""
        before, out, notes, in_float = source.manifest, out_dir / "model.mnn", (), False
        precision = before.target.precision
        if self.params.half or precision is Precision.W4A8:
            require_float(source, "fp16" if self.params.half else "MNN")
        with tempfile.TemporaryDirectory(dir=out_dir) as scratch:
            floats = Path(scratch) / "float.onnx"
            if precision is Precision.INT8:
                told, note = for_mnn(source.file("model"), floats, context)
                convert(floats, out, ("--compressionParamsFile", str(told)), context)
                notes = (note,)
            elif precision in (Precision.W8, Precision.W4):
                bits = widened_onnx(source.file("model"), floats, context)
                rounded = convert(floats, out, (), context, weight_bits=bits)
                in_float = not rounded
                if rounded:
                    notes = (f"weights that MNN rounded by itself, to the nearest of 8 bits: {', '.join(rounded)}",)
            else:
                convert(source.file("model"), out, ("--fp16",) if self.params.half else (), context)
                precision = Precision.FP16 if self.params.half else precision
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
        return manifest, notes, in_float


def convert(
    onnx: Path,
    out: Path,
    options: tuple[str, ...],
    context: StepContext,
    *,
    weight_bits: Mapping[str, int] | None = None,
) -> list[str]:
    """Runs MNN's converter with the given options; returns the operators to whose weights it gave 8 bits by itself.

    Args:
        weight_bits: Output of a product -> bits in which the file stores its weights, which are multiples of a step per
            output channel already.

    Raises:
        UnsupportedModelError: The converter rejects the model, crashes or writes no model.
    """
    with tempfile.TemporaryDirectory(dir=out.parent) as scratch:
        prepared = str(Path(scratch) / "model.onnx")
        with Worker(WORKERS / "onnx_for_mnn_worker.py", needs=ONNX_TOOLS, name="onnx") as worker:
            worker.call("prepare", {"onnx": str(onnx), "out": prepared}, timeout_s=context.timeout_s)
        arguments = {"model": prepared, "source_format": "ONNX", "out": str(out), "options": list(options)}
        if weight_bits is not None:
            arguments["weight_bits"] = dict(weight_bits)

        def run() -> list[str]:
            with Worker(WORKERS / "mnn_convert_worker.py", needs="MNN", name="MNN's converter") as worker:
                return worker.call("convert", arguments, timeout_s=context.timeout_s)[0]["rounded"]

        return converted(run, "MNN", (out,))


def operators(model: Path, timeout_s: float) -> list[tuple[str, str, int]]:
    """Returns type, name and integer weight bits (0 if none) of each operator in an MNN file."""
    with Worker(WORKERS / "mnn_convert_worker.py", needs="MNN", name="MNN's converter") as worker:
        answer, _ = worker.call("describe", {"model": str(model)}, timeout_s=timeout_s)
    return [(kind, name, bits) for kind, name, bits in answer["operators"]]
