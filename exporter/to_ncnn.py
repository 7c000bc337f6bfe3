"""Converts an ONNX model to ncnn and verifies that the result computes the same."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from segexport.artifact import FileEntry, Manifest, ModelArtifact, TargetDevice, file_entry
from segexport.errors import InputError, UnsupportedModelError, WorkerCrashed, WorkerFailed
from segexport.exporter.converted import converted
from segexport.exporter.ncnn_int8 import write_int8
from segexport.exporter.quantized_program import require_float
from segexport.exporter.same_as_source import made_inputs, require_same
from segexport.exporter.to_onnx import ONNX_TOOLS, WORKERS, onnx_nodes
from segexport.exporter.unquantized_onnx import clip_inputs, unquantized_onnx
from segexport.pipeline.step import StepContext, lineage_entry
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
    version = "7"
    accepts = Format.ONNX
    produces = Format.NCNN
    needs = ("ncnn", "pnnx")
    uses_data = False

    class Params(Frozen):
        """`precision`: fp16 and bf16 store the weights in fp16; the runtime computes in the precision given.

        An int8 source stays int8, with its ranges and weights.
        """

        precision: Literal[Precision.FP32, Precision.FP16, Precision.BF16] = Precision.FP32

    def __init__(self, params: Params | None = None) -> None:
        self.params = params or self.Params()

    def run(self, source: ModelArtifact, out_dir: Path, context: StepContext) -> Manifest:
        """Writes `model.ncnn.param` and `model.ncnn.bin`.

        Raises:
            InputError: The input size is dynamic; an ncnn model has one fixed size.
            UnsupportedModelError: pnnx rejects the model, or its result crashes or differs; or fp16 or
                bf16 is requested for an int8 source.
            Interrupted: The converter was killed from outside, so its support for the model is unknown.
        """
        if self.params.precision is not Precision.FP32:
            require_float(source, self.params.precision.value)
        _require_sizes(source)
        _require_layers(source, context)
        manifest, left_out, notes = self._convert(source, out_dir, context)
        made = ModelArtifact(out_dir, manifest)
        try:
            same = require_same(
                source,
                made,
                NcnnRuntime(),
                context,
                lambda part, folder: self._convert(part, folder, context)[0],
            )
        except UnsupportedModelError as error:
            if not left_out:
                raise
            raise UnsupportedModelError(
                error.what, cause=f"pnnx left out of {', '.join(left_out[:4])}; {error.cause}"
            ) from error
        if manifest.target.precision is not Precision.INT8:  # its names are restored before its weights are rounded
            files = {role: out_dir / name for role, name in _FILES.items()}
            _name_tensors(source.file("model"), source.manifest, files, context)
        lineage = lineage_entry(self, context.key, (*notes, same))
        update = {"lineage": (*source.manifest.lineage, lineage), "files": _entries(out_dir)}
        return manifest.model_copy(update=update)

    def _convert(
        self, source: ModelArtifact, out_dir: Path, context: StepContext
    ) -> tuple[Manifest, list[str], tuple[str, ...]]:
        """Writes the files; returns their manifest, the operators that pnnx reports as omitted, and notes."""
        precision, before, notes = self.params.precision, source.manifest, ()
        files = {role: out_dir / name for role, name in _FILES.items()}
        half = precision is not Precision.FP32
        if before.target.precision is Precision.INT8:
            precision = Precision.INT8
            left_out, notes = _int8(source, files, context)
        else:
            left_out = _pnnx(source.file("model"), before, files, context, half=half)
        if precision is Precision.BF16:
            notes = ("weights in fp16; the runtime switches use_bf16_storage on",)
        manifest = before.model_copy(
            update={
                "format": Format.NCNN,
                "files": _entries(out_dir),
                "outputs": tuple(spec.in_32_bits() for spec in before.outputs),
                "target": TargetDevice(arch="any", precision=precision, min_runtime_version=NCNN_VERSION),
                "sample": None,
            }
        )
        return manifest, left_out, notes


def _entries(folder: Path) -> tuple[FileEntry, FileEntry]:
    return file_entry(folder, _FILES["param"]), file_entry(folder, _FILES["bin"], "params")


def _int8(source: ModelArtifact, files: Mapping[str, Path], context: StepContext) -> tuple[list[str], tuple[str, ...]]:
    """Writes `param` and `bin` of an int8 model; returns the operators that pnnx reports as omitted, and notes.

    A product that ncnn computes in floats, such as a grouped convolution, would read values beyond the range that the
    source gives it; which they are is known after a first conversion.
    """
    with tempfile.TemporaryDirectory(dir=files["param"].parent) as scratch:
        onnx = Path(scratch) / "float.onnx"
        rounded = unquantized_onnx(source.file("model"), onnx, context)

        def write() -> tuple[list[str], str, list[str]]:
            left_out = _pnnx(onnx, source.manifest, files, context, half=False)
            _name_tensors(onnx, source.manifest, files, context)
            return left_out, *write_int8(files, rounded, context)

        left_out, note, floats = write()
        if floats:
            clip_inputs(onnx, rounded, floats, context)
            left_out, note, _ = write()
    return left_out, (note,)


def _pnnx(onnx: Path, manifest: Manifest, files: Mapping[str, Path], context: StepContext, *, half: bool) -> list[str]:
    """Writes `param` and `bin`; returns the operators that pnnx reports as omitted."""
    sizes = ",".join(f"[{','.join(map(str, spec.shape))}]{_NUMPY[spec.dtype]}" for spec in manifest.inputs)
    options = [f"inputshape={sizes}", f"fp16={int(half)}"]
    with tempfile.TemporaryDirectory(dir=files["param"].parent) as scratch:
        prepared = str(Path(scratch) / "model.onnx")
        with Worker(WORKERS / "onnx_for_pnnx_worker.py", needs=ONNX_TOOLS, name="onnx") as worker:
            worker.call("prepare", {"onnx": str(onnx), "out": prepared}, timeout_s=context.timeout_s)
        arguments = {"model": prepared, "options": options, **{role: str(path) for role, path in files.items()}}

        def run() -> dict:
            with Worker(WORKERS / "pnnx_worker.py", needs=("ncnn", "pnnx"), name="pnnx") as worker:
                return worker.call("convert", arguments, timeout_s=context.timeout_s)[0]

        return converted(run, "pnnx", (files["param"],))["left_out"]  # `bin` is empty without weights


def _name_tensors(onnx: Path, manifest: Manifest, files: Mapping[str, Path], context: StepContext) -> None:
    """Restores the tensors' names for diagnosis; keeps files that cannot run unchanged.

    It computes every tensor, which may take minutes in a conversion that is wrong: so only what is right is named.
    """
    inputs, timeout_s = made_inputs(manifest, context.seed), context.timeout_s
    with Worker(WORKERS / "onnx_sample_worker.py", needs=ONNX_TOOLS, threads=context.threads, name="onnx") as worker:
        answer, _ = worker.call("samples", {"onnx": str(onnx)}, inputs, timeout_s=timeout_s)
    arguments = {role: str(path) for role, path in files.items()} | {"samples": answer["samples"]}
    try:
        with Worker(WORKERS / "ncnn_files_worker.py", needs="ncnn", name="ncnn's files") as worker:
            worker.call("name_tensors", arguments, inputs, timeout_s=timeout_s)
    except (WorkerCrashed, WorkerFailed):  # the comparison with the source will report the cause
        return


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
            cause="it stands inside the network, or decides at a smaller size than the mask's",
            hint="export the scores, `--head logits`, or another target",
        )
