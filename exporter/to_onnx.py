"""A Paddle program becomes an ONNX model in fp32; the precisions below it start from that file."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Literal

from pydantic import Field

from segexport.artifact import FileEntry, LineageEntry, Manifest, ModelArtifact, file_entry
from segexport.errors import UnsupportedModelError, WorkerCrashed, WorkerFailed
from segexport.exporter import program, rewrites
from segexport.exporter.inspect import in_the_way
from segexport.exporter.quantization_ranges import OnnxNode, Ranges, onnx_to_program
from segexport.files.disk import require_room
from segexport.pipeline.step import StepContext, lineage_entry
from segexport.process.worker import Worker
from segexport.spec import Format, Frozen, Precision, TensorSpec

WORKERS = Path(__file__).parent / "workers"
# paddle2onnx 1.3.1 aborts on some activations below 15; the older ones are for runtimes that read no newer model.
_OPSETS = (16, 15, 13, 11)


class ToOnnx:
    """Paddle program to fp32 ONNX, checked, without the paths of the machine that made it."""

    kind = "to_onnx"
    version = "2"
    accepts = Format.PADDLE
    produces = Format.ONNX
    needs = ("paddle2onnx", "onnx", "onnxruntime", "onnxslim")
    uses_data = False

    class Params(Frozen):
        """`opset`: auto tries the newest that works. `simplify`: kept only when the outputs stay the same."""

        opset: Literal["auto"] | int = Field(default="auto")
        simplify: bool = True

    def __init__(self, params: Params | None = None) -> None:
        self.params = params or self.Params()

    def run(self, source: ModelArtifact, out_dir: Path, context: StepContext) -> Manifest:
        """Writes `model.onnx`.

        Raises:
            UnsupportedModelError: paddle2onnx cannot convert the program, at no opset.
        """
        original = program.read(source.file("model"), source.file("params"))
        graph, notes = rewrites.rewrite_for("onnx", original)
        with tempfile.TemporaryDirectory(dir=out_dir) as scratch:
            model, params = graph.write(Path(scratch))
            raw = Path(scratch) / "raw.onnx"
            try:
                opset = self._convert(model, params, raw, context)
            except UnsupportedModelError as error:
                raise in_the_way("onnx", original, error) from error.__cause__
            answer = finish_onnx(raw, out_dir / "model.onnx", source, simplify=self.params.simplify, context=context)
        ranges, more = _ranges(source, graph, out_dir, context)
        lineage = lineage_entry(self, context.key, (*notes, f"opset {opset}", *answer["notes"], *more))
        manifest = onnx_manifest(source, out_dir, answer, Precision.FP32, lineage)
        return manifest.model_copy(update={"files": (*manifest.files, *ranges)})

    def _convert(self, model: Path, params: Path, onnx: Path, context: StepContext) -> int:
        opsets = _OPSETS if self.params.opset == "auto" else (self.params.opset,)
        for opset in opsets:
            arguments = {"model": str(model), "params": str(params), "onnx": str(onnx), "opset": opset}
            try:
                with Worker(WORKERS / "paddle2onnx_worker.py", needs="paddle2onnx", name="paddle2onnx") as worker:
                    worker.call("convert", arguments, timeout_s=context.timeout_s)
                return opset
            except (WorkerCrashed, WorkerFailed) as error:
                require_room(onnx.parent, error)
                last = error
        raise UnsupportedModelError(
            f"paddle2onnx cannot convert this program (opset {', '.join(map(str, opsets))} tried)",
            cause=last.cause or last.what,
            hint="segexport inspect names the operators that ONNX export does not take",
        ) from last


def _ranges(
    source: ModelArtifact, graph: program.Program, out_dir: Path, context: StepContext
) -> tuple[tuple[FileEntry, ...], tuple[str, ...]]:
    """The source's activation ranges under the names that its tensors have in `model.onnx`, and a note."""
    ranges = Ranges.of(source)
    if ranges is None:
        return (), ()
    names = {var: name for name, var in onnx_to_program(graph, onnx_nodes(out_dir / "model.onnx", context)).items()}
    found = ranges.renamed(names)
    return (found.write(out_dir),), (f"passed on the ranges of {len(found.tensors)} of {len(ranges.tensors)} tensors",)


def onnx_nodes(path: Path, context: StepContext) -> list[OnnxNode]:
    """The nodes of an ONNX file, in order."""
    with Worker(WORKERS / "onnx_worker.py", needs="onnx", threads=context.threads, name="onnx") as worker:
        answer, _ = worker.call("nodes", {"onnx": str(path)}, timeout_s=context.timeout_s)
    return [OnnxNode(*node) for node in answer["nodes"]]


def finish_onnx(raw: Path, out: Path, source: ModelArtifact, *, simplify: bool, context: StepContext) -> dict:
    """Simplifies, checks, writes metadata into and saves an ONNX file; returns its I/O (see `onnx_worker.finish`)."""
    manifest = source.manifest
    metadata = {
        "segexport.source_sha256": source.digest,
        "segexport.labels": json.dumps([label.name for label in manifest.labels], ensure_ascii=False),
        "segexport.preprocess": manifest.preprocess.model_dump_json(),
        "segexport.outputs": json.dumps([spec.semantics for spec in manifest.outputs]),
    }
    arguments = {"raw": str(raw), "out": str(out), "metadata": metadata, "simplify": simplify, "seed": context.seed}
    arguments["meanings"] = [spec.semantics for spec in manifest.inputs]
    with Worker(WORKERS / "onnx_worker.py", needs="onnx", threads=context.threads, name="onnx") as worker:
        answer, _ = worker.call("finish", arguments, timeout_s=context.timeout_s)
    return answer


def onnx_manifest(
    source: ModelArtifact, out_dir: Path, answer: dict, precision: Precision, lineage: LineageEntry
) -> Manifest:
    """The source's manifest, for the ONNX file that was made from it."""
    before = source.manifest
    return before.model_copy(
        update={
            "format": Format.ONNX,
            "files": (file_entry(out_dir, "model.onnx"),),
            "inputs": _specs(before.inputs, answer["inputs"]),
            "outputs": _specs(before.outputs, answer["outputs"]),
            "target": before.target.model_copy(
                update={"arch": "any", "precision": precision, "min_runtime_version": answer["min_runtime_version"]}
            ),
            "lineage": (*before.lineage, lineage),
            "sample": None,
        }
    )


def _specs(before: tuple[TensorSpec, ...], found: list[dict]) -> tuple[TensorSpec, ...]:
    return tuple(
        spec.model_copy(update={"name": new["name"], "dtype": new["dtype"], "shape": tuple(new["shape"])})
        for spec, new in zip(before, found, strict=True)
    )
