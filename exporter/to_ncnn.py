"""Converts an ONNX model to ncnn and verifies that the result computes the same."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Literal

from segexport.artifact import Manifest, ModelArtifact, TargetDevice, file_entry
from segexport.errors import InputError, UnsupportedModelError, WorkerCrashed, WorkerFailed
from segexport.exporter.quantized_program import require_float
from segexport.exporter.same_as_source import require_same
from segexport.exporter.to_onnx import ONNX_TOOLS, WORKERS, onnx_nodes
from segexport.pipeline.step import StepContext, lineage_entry
from segexport.process.settled import settled
from segexport.process.worker import Worker
from segexport.runtimes.ncnn import NcnnRuntime
from segexport.spec import Format, Frozen, Precision

NCNN_VERSION = "20261020"
_FILES = {"param": "model.ncnn.param", "bin": "model.ncnn.bin"}
_LACKING = {"ArgMax", "ArgMin"}
_NUMPY = {"float32": "f32", "int64": "i64", "int32": "i32"}  # pnnx's names


class ToNcnn:
    """Converts ONNX to `model.ncnn.param` and `model.ncnn.bin` with pnnx."""

    kind = "to_ncnn"
    version = "1"
    accepts = Format.ONNX
    produces = Format.NCNN
    needs = ("ncnn", "pnnx")
    uses_data = False

    class Params(Frozen):
        """`precision`: fp16 stores the weights in fp16, and phones compute in it."""

        precision: Literal[Precision.FP32, Precision.FP16] = Precision.FP32

    def __init__(self, params: Params | None = None) -> None:
        self.params = params or self.Params()

    def run(self, source: ModelArtifact, out_dir: Path, context: StepContext) -> Manifest:
        """Writes `model.ncnn.param` and `model.ncnn.bin`.

        Raises:
            InputError: The input size is dynamic; an ncnn model has one fixed size.
            UnsupportedModelError: pnnx rejects the model, its result crashes or computes something else, or the source
                is in int8.
            Interrupted: The converter was killed from outside, so its support for the model is unknown.
        """
        require_float(source, "ncnn")
        _require_sizes(source)
        _require_layers(source, context)
        manifest, left_out = self._convert(source, out_dir, context)
        made = ModelArtifact(out_dir, manifest)
        try:
            same = require_same(
                source, made, NcnnRuntime(), context, lambda cut, folder: self._convert(cut, folder, context)[0]
            )
        except UnsupportedModelError as error:
            if not left_out:
                raise
            raise UnsupportedModelError(
                error.what, cause=f"pnnx left out of {', '.join(left_out[:4])}; {error.cause}"
            ) from error
        lineage = lineage_entry(self, context.key, (same,))
        return manifest.model_copy(update={"lineage": (*source.manifest.lineage, lineage)})

    def _convert(self, source: ModelArtifact, out_dir: Path, context: StepContext) -> tuple[Manifest, list[str]]:
        """Writes the files; returns their manifest and the operators that pnnx reports as omitted."""
        precision, before = self.params.precision, source.manifest
        answer = _convert(source, out_dir, precision, context)
        manifest = before.model_copy(
            update={
                "format": Format.NCNN,
                "files": (file_entry(out_dir, _FILES["param"]), file_entry(out_dir, _FILES["bin"], "params")),
                "outputs": tuple(spec.in_32_bits() for spec in before.outputs),
                "target": TargetDevice(arch="any", precision=precision, min_runtime_version=NCNN_VERSION),
                "sample": None,
            }
        )
        return manifest, answer["left_out"]


def _convert(source: ModelArtifact, out_dir: Path, precision: Precision, context: StepContext) -> dict:
    sizes = ",".join(f"[{','.join(map(str, spec.shape))}]{_NUMPY[spec.dtype]}" for spec in source.manifest.inputs)
    options = [f"inputshape={sizes}", f"fp16={int(precision is Precision.FP16)}"]
    with tempfile.TemporaryDirectory(dir=out_dir) as scratch:
        prepared = str(Path(scratch) / "model.onnx")
        with Worker(WORKERS / "onnx_for_pnnx_worker.py", needs=ONNX_TOOLS, name="onnx") as worker:
            given = {"onnx": str(source.file("model")), "out": prepared}
            worker.call("prepare", given, timeout_s=context.timeout_s)
        arguments = {
            "model": prepared,
            "options": options,
            **{role: str(out_dir / name) for role, name in _FILES.items()},
        }

        def run() -> dict:
            with Worker(WORKERS / "pnnx_worker.py", needs=("ncnn", "pnnx"), name="pnnx") as worker:
                return worker.call("convert", arguments, timeout_s=context.timeout_s)[0]

        try:
            return settled(run, out=out_dir)
        except (WorkerCrashed, WorkerFailed) as error:
            raise UnsupportedModelError(
                "pnnx cannot convert this model", cause=f"{error.what}{f': {error.cause}' if error.cause else ''}"
            ) from error


def _require_sizes(source: ModelArtifact) -> None:
    for spec in source.manifest.inputs:
        if any(size < 1 for size in spec.shape):
            raise InputError(
                f"input {spec.name!r} is {list(spec.shape)}, and ncnn's files hold one size",
                hint="give it: --input-size WIDTHxHEIGHT",
            )


def _require_layers(source: ModelArtifact, context: StepContext) -> None:
    lacking = sorted({node.kind for node in onnx_nodes(source.file("model"), context)} & _LACKING)
    if lacking:
        raise UnsupportedModelError(
            f"ncnn has no layer for {', '.join(lacking)}",
            hint="export the scores, `--head logits`, and take the largest outside",
        )
