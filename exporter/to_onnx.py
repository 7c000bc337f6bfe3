"""Converts a Paddle program to fp32 ONNX, from which the lower precisions are made.

A quantized program becomes an int8 model with its own scales.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import Field

from segexport.artifact import FileEntry, LineageEntry, Manifest, ModelArtifact, file_entry
from segexport.errors import InputError, UnsupportedModelError, WorkerCrashed, WorkerError, WorkerFailed
from segexport.exporter import program, rewrites
from segexport.exporter.inspect import in_the_way
from segexport.exporter.layers import layer_path
from segexport.exporter.quantization_ranges import OnnxNode, Ranges, onnx_to_program
from segexport.exporter.quantized_program import Unquantized, is_quantized, unquantized
from segexport.exporter.rewrites.bicubic import BicubicToMatmul
from segexport.pipeline.step import StepContext, lineage_entry
from segexport.process.settled import settled
from segexport.process.worker import Worker
from segexport.spec import Format, Frozen, Precision, TensorSpec

WORKERS = Path(__file__).parent / "workers"
ONNX_TOOLS = ("onnx", "onnxruntime")  # packages that ONNX workers import
# paddle2onnx 1.3.1 aborts on some activations below 15; older opsets serve runtimes that read no newer model.
_OPSETS = (16, 15, 13, 11)
# For each operator that it removes, paddle2onnx's optimizer visits all others: 3500 operators take it 80 s, and the
# conversion itself 0.3 s. onnxslim removes the same ones.
_MOST_OPTIMIZED = 2000


class _Need(NamedTuple):
    """The first opset that supports a model's operator."""

    opset: int
    what: str
    cause: str


_PER_CHANNEL = _Need(13, "a quantized model", "older ones have no scale for each channel of a weight")
_HALF_PIXEL = _Need(16, "roi_align", "older ones do not shift its boxes by half a pixel")


class ToOnnx:
    """Converts a Paddle program to checked ONNX without paths of the exporting machine."""

    kind = "to_onnx"
    version = "15"
    accepts = Format.PADDLE
    produces = Format.ONNX
    needs = ("paddle2onnx", "onnx", "onnxruntime", "onnxslim")
    uses_data = False

    class Params(Frozen):
        """`opset`: auto uses the newest that works. `simplify`: whether to simplify, if the outputs stay equal.

        `cubic`: whether bicubic resizes stay; otherwise they become matrix products, if their sizes are known.
        """

        opset: Literal["auto"] | int = Field(default="auto")
        simplify: bool = True
        cubic: bool = True

    def __init__(self, params: Params | None = None) -> None:
        self.params = params or self.Params()

    def run(self, source: ModelArtifact, out_dir: Path, context: StepContext) -> Manifest:
        """Writes `model.onnx`.

        Raises:
            UnsupportedModelError: paddle2onnx cannot convert the program at any opset.
            Interrupted: paddle2onnx was killed from outside, so its support for the model is unknown.
        """
        original = program.read(source.file("model"), source.file("params"))
        before = unquantized(original) if is_quantized(original) else None
        more = () if self.params.cubic else (BicubicToMatmul(frozenset({rewrites.ONNX})),)
        graph, notes = rewrites.rewrite_for("onnx", original if before is None else before.program, *more)
        with tempfile.TemporaryDirectory(dir=out_dir) as scratch:
            model, params = graph.write(Path(scratch))
            raw = Path(scratch) / "raw.onnx"
            try:
                opset = self._convert(graph, model, params, raw, context, is_int8=before is not None)
            except UnsupportedModelError as error:
                raise in_the_way("onnx", original, error) from error.__cause__
            answer = finish_onnx(
                raw, out_dir / "model.onnx", source, simplify=self.params.simplify, context=context, names=graph
            )
        ranges, more = _ranges(source, graph, out_dir, context)
        precision = Precision.FP32
        if before is not None:
            precision, more = Precision.INT8, (*more, _rounded(before, graph, out_dir / "model.onnx", context))
        lineage = lineage_entry(self, context.key, (*notes, f"opset {opset}", *answer["notes"], *more))
        manifest = onnx_manifest(source, out_dir, answer, precision, lineage)
        return manifest.model_copy(update={"files": (*manifest.files, *ranges)})

    def _convert(
        self, graph: program.Program, model: Path, params: Path, onnx: Path, context: StepContext, *, is_int8: bool
    ) -> int:
        opsets = _OPSETS if self.params.opset == "auto" else (self.params.opset,)
        for need in _needs(graph, is_int8=is_int8):
            if not (opsets := tuple(opset for opset in opsets if opset >= need.opset)):
                what = f"{need.what} needs opset {need.opset} or newer, not {self.params.opset}"
                raise InputError(what, cause=need.cause)
        last: WorkerError | None = None
        for opset in opsets:
            arguments = {"model": str(model), "params": str(params), "onnx": str(onnx), "opset": opset}
            arguments["optimize"] = not self.params.simplify or len(graph.ops) <= _MOST_OPTIMIZED

            def convert(arguments=arguments) -> None:
                with Worker(WORKERS / "paddle2onnx_worker.py", needs="paddle2onnx", name="paddle2onnx") as worker:
                    worker.call("convert", arguments, timeout_s=context.timeout_s)

            try:
                settled(convert, out=onnx.parent)
                return opset
            except (WorkerCrashed, WorkerFailed) as error:  # rejected; the next opset may work
                last = error
        assert last is not None, "there is an opset to try"
        raise UnsupportedModelError(
            f"paddle2onnx cannot convert this program (opset {', '.join(map(str, opsets))} tried)",
            cause=last.cause or last.what,
            hint="segexport inspect names the operators that ONNX export does not take",
        ) from last


def _needs(graph: program.Program, *, is_int8: bool) -> list[_Need]:
    needs = [_PER_CHANNEL] if is_int8 else []
    if any(op.type == "roi_align" for op in graph.all_ops()):
        needs.append(_HALF_PIXEL)
    return needs


def _ranges(
    source: ModelArtifact, graph: program.Program, out_dir: Path, context: StepContext
) -> tuple[tuple[FileEntry, ...], tuple[str, ...]]:
    """Writes the source's activation ranges under the tensor names of `model.onnx`; returns the file and a note."""
    ranges = Ranges.of(source)
    if ranges is None:
        return (), ()
    names = {var: name for name, var in onnx_to_program(graph, onnx_nodes(out_dir / "model.onnx", context)).items()}
    found = ranges.renamed(names)
    return (found.write(out_dir),), (f"passed on the ranges of {len(found.tensors)} of {len(ranges.tensors)} tensors",)


def _rounded(before: Unquantized, graph: program.Program, onnx: Path, context: StepContext) -> str:
    """Writes a quantized program's rounding into the ONNX file made from its float program; returns a note."""
    limits = {name: high for name, (_, high) in before.ranges.limits().items()}
    names = onnx_to_program(graph, onnx_nodes(onnx, context))
    arguments = {"onnx": str(onnx), "limits": {name: limits[var] for name, var in names.items() if var in limits}}
    with Worker(WORKERS / "onnx_round_worker.py", needs=ONNX_TOOLS, threads=context.threads, name="onnx") as worker:
        answer, _ = worker.call("round", arguments, timeout_s=context.timeout_s)
    return f"quantized already: {answer['rounded']} of {answer['products']} products keep their int8 weights and scales"


def onnx_nodes(path: Path, context: StepContext) -> list[OnnxNode]:
    """Returns the nodes of an ONNX file, in order."""
    with Worker(WORKERS / "onnx_worker.py", needs=ONNX_TOOLS, threads=context.threads, name="onnx") as worker:
        answer, _ = worker.call("nodes", {"onnx": str(path)}, timeout_s=context.timeout_s)
    return [OnnxNode(*node) for node in answer["nodes"]]


def onnx_names(path: Path, *, timeout_s: float = 300.0) -> tuple[str, list[str]]:
    """Returns the name of an ONNX file's graph, and those of its operators, in order."""
    with Worker(WORKERS / "onnx_worker.py", needs=ONNX_TOOLS, name="onnx") as worker:
        answer, _ = worker.call("nodes", {"onnx": str(path)}, timeout_s=timeout_s)
    return answer["graph"], [name for _, name, _, _ in answer["nodes"] if name]


def finish_onnx(
    raw: Path,
    out: Path,
    source: ModelArtifact,
    *,
    simplify: bool,
    context: StepContext,
    names: program.Program | None = None,
) -> dict:
    """Simplifies, checks, annotates and saves an ONNX file; returns its I/O (see `onnx_worker.finish`).

    Args:
        names: The program whose variables the operators are named after; None: they keep their names.
    """
    manifest = source.manifest
    metadata = {
        "segexport.source_sha256": source.digest,
        "segexport.labels": json.dumps([label.name for label in manifest.labels], ensure_ascii=False),
        "segexport.preprocess": manifest.preprocess.model_dump_json(),
        "segexport.outputs": json.dumps([spec.semantics for spec in manifest.outputs]),
    }
    arguments = {"raw": str(raw), "out": str(out), "metadata": metadata, "simplify": simplify, "seed": context.seed}
    arguments["meanings"] = [spec.semantics for spec in manifest.inputs]
    if names is not None:
        arguments["variables"] = list(names.vars)
        arguments["scopes"] = {
            variable: scope
            for op in names.ops
            if (scope := layer_path(op).strip("/"))
            for variable in op.output_names()
        }
    try:
        return _finished(arguments, context)
    except WorkerCrashed as error:
        if not simplify or error.end != "SIGFPE":
            raise
    # The comparison's noise input caused an integer division by zero, so it proves nothing here.
    answer = _finished({**arguments, "simplify": False}, context)
    return {**answer, "notes": [*answer["notes"], "not simplified: an integer is divided by zero on random inputs"]}


def _finished(arguments: dict, context: StepContext) -> dict:
    with Worker(WORKERS / "onnx_worker.py", needs=ONNX_TOOLS, threads=context.threads, name="onnx") as worker:
        return worker.call("finish", arguments, timeout_s=context.timeout_s)[0]


def onnx_manifest(
    source: ModelArtifact, out_dir: Path, answer: dict, precision: Precision, lineage: LineageEntry
) -> Manifest:
    """Builds the manifest of the ONNX file from the source's manifest."""
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
