"""Finds the layer that broke an export: the first operator whose output differs by more than its expected error.

Every layer has two errors. The accumulated error is the difference if both models run from the image on; it shows where
a difference becomes visible. The local error is that of the layer alone, with the reference's tensors as inputs; it
shows which layer causes the difference. The first layer with a too large local error is reported.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from pydantic import BaseModel

from segexport import __version__, preprocess
from segexport.artifact import ModelArtifact
from segexport.diagnose import judge as diagnose_judge
from segexport.diagnose.graph_probe import Diagnosed, Side
from segexport.diagnose.match import Match, folded
from segexport.diagnose.schema import Diagnosis, Difference, Finding, LayerComparison
from segexport.diagnose.trace import Trace, trace
from segexport.errors import InputError, MismatchError, WorkerError
from segexport.exporter import program, truncate
from segexport.exporter.program import Program
from segexport.pipeline.registry import target_of
from segexport.progress import Progress, silent
from segexport.spec import Format, Precision, Preprocess


def diagnose(
    export: ModelArtifact,
    reference: ModelArtifact,
    image: np.ndarray,
    *,
    image_name: str = "image",
    out: Path | None = None,
    source: Program | None = None,
    threads: int = 1,
    timeout_s: float = 300.0,
    progress: Progress = silent,
) -> Diagnosis:
    """Compares an export with the program that it was made from, layer by layer, on one image.

    Args:
        export: An artifact of a target with a `graph_probe`.
        reference: The Paddle artifact that it was made from.
        image: uint8 (height, width, 3), RGB.
        out: Folder for a minimal model and input that reproduce the first fault; must exist.
        source: For Paddle-Lite, whose file does not give inner tensors: the program that was compiled, if it is not the
            reference's.

    Raises:
        SegexportError: One of the two cannot be read or run, or their input sizes differ.
    """
    start = time.monotonic()
    if reference.manifest.format != Format.PADDLE:
        raise InputError(
            f"{reference.path}: a model for {reference.manifest.format}",
            cause="a diagnosis walks the Paddle program operator by operator",
            hint="give the PaddleSeg or PaddleX export that the model was made from as --reference",
        )
    findings = preprocess_findings(reference.manifest.preprocess, export.manifest.preprocess)
    graph = program.read(reference.file("model"), reference.file("params"))
    contract = _contract(reference, export)
    tensor, _ = preprocess.example(contract, image, input_spec=export.manifest.inputs[0])
    precision = export.manifest.target.precision
    with tempfile.TemporaryDirectory() as folder, progress("looking into both models", 4) as bar:
        traced = trace(graph, [tensor], Path(folder), timeout_s)
        bar.advance()
        side = _side(export, traced, [tensor], source, threads, timeout_s)
        try:
            layers, median = _layers(side, traced, precision, bar)
            at_fault = diagnose_judge.layer_findings(layers)
            findings += at_fault
            whole = _whole(side, may_fail=bool(at_fault))
            if not at_fault:
                findings += _beyond_layers(side, layers, whole, precision, median)
            bar.advance()
            diagnosis = Diagnosis(
                segexport_version=__version__,
                export=export.path.resolve().name,
                reference=reference.manifest.name,
                image=image_name,
                format=export.manifest.format,
                precision=precision.value,
                unit=diagnose_judge.unit(precision),
                graph=side.graph,
                findings=tuple(findings),
                whole=whole,
                layers=tuple(layers),
                unmatched=tuple(name for name in traced.files if name not in side.matches),
                notes=tuple(side.notes),
                seconds=time.monotonic() - start,
            )
            if out is not None:
                from segexport.diagnose.save import save

                save(diagnosis, side, traced, contract, export.manifest.preprocess, image, out)
        finally:
            side.close()
    return diagnosis.model_copy(update={"seconds": time.monotonic() - start})


def preprocess_findings(reference: Preprocess, export: Preprocess) -> list[Finding]:
    """Differences of the two manifests' preprocessing, which affect all layers."""
    found = []
    for field in Preprocess.model_fields:
        own, other = getattr(reference, field), getattr(export, field)
        if own != other:
            what = {
                "color": "order of the colour channels",
                "geometry": "resizing and padding",
                "scale": "factor on the grey levels",
                "mean": "mean",
                "std": "standard deviation",
            }[field]
            message = f"preprocessing: the {what} ({field}) is {_plain(other)} in the export, {_plain(own)} in the "
            message += "reference; the layers below were compared with the reference's"
            found.append(Finding(kind="preprocess", message=message, layer=field))
    return found


def _plain(value: object) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(_plain(item) for item in value) + "]"
    return str(value.model_dump(mode="json")) if isinstance(value, BaseModel) else f"{value}"


def _contract(reference: ModelArtifact, export: ModelArtifact) -> Preprocess:
    """The reference's preprocessing, with the export's geometry if only the reference's size is dynamic."""
    contract = reference.manifest.preprocess
    if -1 in reference.manifest.inputs[0].shape[2:] and -1 not in export.manifest.inputs[0].channels_first.shape[2:]:
        return contract.model_copy(update={"geometry": export.manifest.preprocess.geometry})
    return contract


def _side(
    export: ModelArtifact,
    traced: Trace,
    tensors: list[np.ndarray],
    source: Program | None,
    threads: int,
    timeout_s: float,
) -> Side:
    target = target_of(export.manifest.format)
    if target is None:
        raise InputError(f"{export.path}: a Paddle program", hint="give an export of it; the program is --reference")
    return target.graph_probe(Diagnosed(export, traced, tensors, source or traced.program, threads, timeout_s))


def _whole(side: Side, *, may_fail: bool) -> dict[str, Difference]:
    """Compares the unchanged export's outputs. `may_fail`: a crash becomes a note, because layers are compared too."""
    try:
        return side.whole()
    except WorkerError as error:
        if not may_fail:
            raise
        side.notes.append(f"the export does not run as a whole: {error.what}")
        return {}


def _layers(side: Side, traced: Trace, precision: Precision, bar) -> tuple[list[LayerComparison], float]:
    variables = [name for name in traced.files if name in side.matches and name not in traced.program.feed_names]
    if not variables:
        raise MismatchError(
            "the export and the reference have no tensor in common",
            hint="is this the model that the export was made from?",
        )
    accumulated = side.accumulated(variables)
    bar.advance()
    local = side.local(variables)
    median = diagnose_judge.median_score(local.values(), precision)
    suspects = [
        name for name in variables if name in local and diagnose_judge.is_faulty(local[name], precision, median)
    ]
    moved = _rematch(side, traced.program, suspects, local, precision)
    if moved:
        variables = [name for name in traced.files if name in side.matches and name not in traced.program.feed_names]
        again = [moved.get(name, name) for name in suspects]
        local = {name: value for name, value in local.items() if name not in moved} | side.local(again)
        accumulated = {n: v for n, v in accumulated.items() if n not in moved} | side.accumulated(list(moved.values()))
    bar.advance()
    held = diagnose_judge.shifted({name: side.quantized(name) for name in variables})
    layers = []
    for name in variables:
        part = truncate.segment(traced.program, name, side.matches)
        ops = [traced.program.ops[index] for index in part.ops]
        own, quantized = local.get(name), held[name]
        off = own is not None and diagnose_judge.is_faulty(own, precision, median)
        scope = str(ops[-1].attr("struct_name", "") or ops[-1].attr("op_namescope", "")).strip("/")
        layers.append(
            LayerComparison(
                variable=name,
                operators=tuple(op.type for op in ops),
                scope=scope,
                tensor=side.matches[name].tensor,
                export_operators=side.operators(name),
                nodes=side.nodes(name),
                matched_by=side.matches[name].by,
                shape=traced.shapes[name],
                quantized=quantized,
                accumulated=accumulated.get(name),
                local=own,
                score=None if own is None else min(diagnose_judge.score(own, precision), diagnose_judge.NOT_COMPARABLE),
                expected=0.0 if own is None else diagnose_judge.limit(own, precision, median),
                is_faulty=off or (quantized is not None and quantized.is_shifted),
            )
        )
    return layers, median


def _rematch(
    side: Side, graph: Program, suspects: Sequence[str], local: dict[str, Difference], precision: Precision
) -> dict[str, str]:
    """Moves matches from an operator to one that was folded into it, if the tensor is the result of the latter.

    A converter that folds a bias or a normalization into a convolution may give the result the convolution's name. The
    tensor belongs to the later variable if it agrees with that 10 times better than with the one of its name.
    """
    moved = {}
    for name in suspects:
        here = side.matches[name]
        best, best_score = name, diagnose_judge.score(local[name], precision) / 10.0
        for other in folded(graph, side.matches, name):
            del side.matches[name]
            side.matches[other] = here
            found = side.local([other]).get(other)
            del side.matches[other]
            side.matches[name] = here
            if found is not None and diagnose_judge.score(found, precision) < best_score:
                best, best_score = other, diagnose_judge.score(found, precision)
        if best != name:
            del side.matches[name]
            side.matches[best] = Match(here.tensor, "structure")
            moved[name] = best
    return moved


def _beyond_layers(
    side: Side, layers: list[LayerComparison], whole: dict[str, Difference], precision: Precision, median: float
) -> list[Finding]:
    """The finding if every layer alone is right: only the fused graph is wrong, or the errors add up."""

    def is_off(found: Difference | None) -> bool:
        return found is not None and diagnose_judge.is_off_as_a_whole(found, precision, median)

    if not any(is_off(found) for found in whole.values()):
        return []
    if any(is_off(layer.accumulated) for layer in layers if layer.variable in whole):
        found = diagnose_judge.accumulation_finding(layers, whole, precision, median)
        return [found] if found is not None else []
    first = bisect(layers, lambda layer: is_off(side.alone(layer.variable)))
    if first is None:
        text = "the file gives other outputs than the same program does when it is exported now: it was made from "
        text += "another program or other weights, or by another version of the tools; export it again"
        return [Finding(kind="file", message=text)]
    text = "every layer alone is right, and so are all together when nothing is fused; fused, the first that is off is "
    text += f"{' + '.join(first.operators)} -> {first.variable} {list(first.shape)}"
    return [Finding(kind="fusion", message=text, layer=first.variable, operators=first.operators)]


def bisect(layers: Sequence[LayerComparison], is_off: Callable[[LayerComparison], bool]) -> LayerComparison | None:
    """The first layer from which on all layers are wrong, if the last one is; found by bisection."""
    if not layers or not is_off(layers[-1]):
        return None
    low, high = 0, len(layers) - 1
    while low < high:
        middle = (low + high) // 2
        if is_off(layers[middle]):
            high = middle
        else:
            low = middle + 1
    return layers[high]
