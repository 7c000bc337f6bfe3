"""Shows what a model holds, and what each export will make of it, as a table or as JSON."""

from __future__ import annotations

import json
from pathlib import Path

from segexport.artifact import Manifest, ModelArtifact, read_artifact
from segexport.exporter import program
from segexport.exporter.from_paddle import ImportOptions, import_model
from segexport.exporter.inspect import Inspection, TargetSupport
from segexport.exporter.inspect import inspect as inspect_program
from segexport.exporter.mask_output import FIRST, MASKS, mask_of
from segexport.files.store import Store
from segexport.importers.model_files import find_model
from segexport.spec import Format, TensorSpec
from segexport.ui.text_table import table

_MOST_OPERATORS = 30


def inspect(path: Path, options: ImportOptions, form: str, *, color: bool, width: int) -> str:
    """Describes a Paddle model in full, and of an export what its manifest says.

    Raises:
        InputError: Nothing that can be read.
    """
    files = find_model(path)
    if files.kind == "artifact":
        artifact = read_artifact(files.folder)
        if artifact.manifest.format != Format.PADDLE:
            return _export(artifact, form, color=color, width=width)
    else:
        if options.mask_output is None:  # which one it is need not be known to look at them
            options = options.model_copy(update={"mask_output": FIRST})
        artifact = import_model(path, options, Store())
    graph = program.read(artifact.file("model"), artifact.file("params"))
    found = inspect_program(graph)
    if form == "json":
        described = {"manifest": artifact.manifest.model_dump(mode="json"), **found.model_dump(mode="json")}
        return json.dumps(described, indent=2, ensure_ascii=False)
    return "\n".join(
        (
            _described(artifact.manifest, _mask(graph, artifact.manifest) + _costs(found), color=color, width=width),
            _operators(found, color=color, width=width),
            _targets(found.targets, color=color, width=width),
        )
    )


def _export(artifact: ModelArtifact, form: str, *, color: bool, width: int) -> str:
    if form == "json":
        return json.dumps({"manifest": artifact.manifest.model_dump(mode="json")}, indent=2, ensure_ascii=False)
    size = [("size", f"{artifact.size_bytes:,} bytes")]
    steps = [(f"step {step.step}", "; ".join(step.notes)) for step in artifact.manifest.lineage]
    return _described(artifact.manifest, size + steps, color=color, width=width)


def _described(manifest: Manifest, more: list[tuple[str, str]], *, color: bool, width: int) -> str:
    target = manifest.target
    names = [label.name for label in manifest.labels]
    rows = [
        ("format", f"{manifest.format}, {target.precision.value}, for {target.arch}"),
        *(("input", _tensor(spec)) for spec in manifest.inputs),
        *(("output", _tensor(spec)) for spec in manifest.outputs),
        ("preprocess", _preprocess(manifest)),
        ("classes", f"{len(names)}: {', '.join(names)}"),
        *(("warning", text) for text in manifest.warnings),
        *more,
    ]
    return table(("", ""), rows, title=manifest.name, color=color, width=width)


def _mask(graph: program.Program, manifest: Manifest) -> list[tuple[str, str]]:
    """Of several outputs that could be the mask, which one is."""
    possible = [spec for spec in graph.outputs() if spec.semantics in MASKS]
    mask = mask_of(manifest.outputs)
    if len(possible) < 2 or not mask:
        return []
    names = ", ".join(spec.name for spec in possible)
    return [("mask", f"made from {mask}, of {names}; another one: --mask-output NAME")]


def _tensor(spec: TensorSpec) -> str:
    shape = "x".join("?" if size < 0 else str(size) for size in spec.shape)
    return f"{spec.name}: {spec.dtype} {shape} {spec.layout} ({spec.semantics})"


def _preprocess(manifest: Manifest) -> str:
    contract = manifest.preprocess
    steps = [
        f"{op.op} {', '.join(f'{k}={v}' for k, v in op.model_dump(exclude={'op'}).items())}" for op in contract.geometry
    ]
    numbers = f"scale {contract.scale:.6g}, mean {list(contract.mean)}, std {list(contract.std)}"
    return "; ".join([contract.color, *steps, numbers])


def _costs(found: Inspection) -> list[tuple[str, str]]:
    unknown = "depends on the input's size: give --input-size"
    flops = unknown if found.flops is None else f"{found.flops / 1e6:,.1f} million (multiply-add counts as one)"
    peak = found.peak_activation_bytes
    return [
        ("parameters", f"{found.parameter_count:,} ({found.parameter_bytes:,} bytes)"),
        ("FLOPs", flops),
        ("activations", unknown if peak is None else f"{peak / 1e6:,.1f} MB at their peak"),
    ]


def _operators(found: Inspection, *, color: bool, width: int) -> str:
    shown = found.operators[:_MOST_OPERATORS]
    rows = [(op.type, str(op.count), "–" if op.flops is None else f"{op.flops / 1e6:,.1f}") for op in shown]
    left = len(found.operators) - len(shown)
    title = "Operators" + (f" (and {left} more types)" if left else "")
    return table(("operator", "count", "million FLOPs"), rows, title=title, color=color, width=width)


def _targets(targets: tuple[TargetSupport, ...], *, color: bool, width: int) -> str:
    rows = []
    for target in targets:
        why = "; ".join(f"{o.operator} ({o.layer}): {o.reason}" if o.layer else o.reason for o in target.obstacles)
        rows.append((target.target, target.support, why or "; ".join(target.rewrites)))
    return table(
        ("export", "supported", "rewrites, or what is in the way"), rows, title="Exports", color=color, width=width
    )
