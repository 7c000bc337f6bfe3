"""`segexport inspect`: shows structure, cost and target support of a model as a table or as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segexport.artifact import Manifest, read_artifact
from segexport.commands.documents import ArtifactDocument, ProgramDocument
from segexport.exporter import program
from segexport.exporter.from_paddle import ImportOptions, import_model
from segexport.exporter.inspect import Inspection, Obstacle, TargetSupport
from segexport.exporter.inspect import inspect as inspect_program
from segexport.exporter.mask_output import FIRST, MASKS, mask_of
from segexport.files.json_writer import to_json
from segexport.files.store import Store
from segexport.importers.model_files import find_model
from segexport.spec import Format, Postprocess, TensorSpec
from segexport.ui.text_table import table

_MOST_OPERATORS = 30


@dataclass(frozen=True)
class ModelDescription:
    """The description of a model.

    Attributes:
        size_bytes: Size of the files that are shipped.
        program: Operators, costs and target support of a Paddle program; None for an export in another format.
        mask_candidates: Outputs of the program from which a mask can be computed.
        path: Where it is.
    """

    manifest: Manifest
    size_bytes: int
    program: Inspection | None = None
    mask_candidates: tuple[str, ...] = ()
    path: Path = Path()

    @property
    def document(self) -> ArtifactDocument | ProgramDocument:
        """What `--format json` prints."""
        common: dict[str, Any] = {
            "path": str(self.path),
            "size_bytes": self.size_bytes,
            "manifest": self.manifest,
        }
        if self.program is None:
            return ArtifactDocument(**common)
        own = {name: getattr(self.program, name) for name in type(self.program).model_fields}
        return ProgramDocument(**own, **common, mask_candidates=self.mask_candidates)

    def render(self, form: str, *, color: bool, width: int) -> str:
        """Formats the description as a table or as JSON."""
        found = self.program
        if form == "json":
            return to_json(self.document)
        if found is None:
            steps = [(f"step {step.step}", "; ".join(step.notes)) for step in self.manifest.lineage]
            size = ("size", f"{self.size_bytes:,} bytes")
            return _described(self.manifest, [size, *steps], color=color, width=width)
        return "\n".join(
            (
                _described(self.manifest, self._mask() + _costs(found), color=color, width=width),
                _operators(found, color=color, width=width),
                _targets(found.targets, color=color, width=width),
            )
        )

    def _mask(self) -> list[tuple[str, str]]:
        """A row with the mask's output, if there are several candidates."""
        mask = mask_of(self.manifest.outputs)
        if len(self.mask_candidates) < 2 or not mask:
            return []
        names = ", ".join(self.mask_candidates)
        return [("mask", f"made from {mask}, of {names}; another one: --mask-output NAME")]


def inspect(path: Path, options: ImportOptions) -> ModelDescription:
    """Describes a Paddle model or a checkpoint in full, or an export in another format by its manifest.

    Raises:
        InputError: The model cannot be read.
    """
    files = find_model(path) if options.config is None else None
    if files is not None and files.kind == "artifact":
        artifact = read_artifact(files.folder)
        if artifact.manifest.format != Format.PADDLE:
            return ModelDescription(artifact.manifest, artifact.size_bytes, path=path)
    else:
        if options.mask_output is None:  # any candidate works: all are shown
            options = options.model_copy(update={"mask_output": FIRST})
        artifact = import_model(path, options, Store())
    graph = program.read(artifact.file("model"), artifact.file("params"))
    candidates = tuple(spec.name for spec in graph.outputs() if spec.semantics in MASKS)
    return ModelDescription(artifact.manifest, artifact.size_bytes, inspect_program(graph), candidates, path)


def _described(manifest: Manifest, more: list[tuple[str, str]], *, color: bool, width: int) -> str:
    target = manifest.target
    names = [label.name for label in manifest.labels]
    rows = [
        ("format", f"{manifest.format}, {target.precision.value}, for {target.arch}"),
        *(("input", _tensor(spec)) for spec in manifest.inputs),
        *(("output", _tensor(spec)) for spec in manifest.outputs),
        ("preprocess", _preprocess(manifest)),
        *([] if manifest.postprocess is None else [("postprocess", _postprocess(manifest.postprocess))]),
        ("classes", f"{len(names)}: {', '.join(names)}"),
        *(("warning", text) for text in manifest.warnings),
        *more,
    ]
    return table(("", ""), rows, title=manifest.name, color=color, width=width)


def _tensor(spec: TensorSpec) -> str:
    shape = "x".join("?" if size < 0 else str(size) for size in spec.shape)
    return f"{spec.name}: {spec.dtype} {shape} {spec.layout} ({spec.semantics})"


def _postprocess(rule: Postprocess) -> str:
    values = rule.model_dump(exclude={"kind"}, exclude_none=True)
    return f"{rule.kind}; " + ", ".join(f"{name}={value}" for name, value in values.items())


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
        why = "; ".join(_obstacles(target))
        rows.append((target.target, target.support, why or "; ".join(target.rewrites)))
    return table(
        ("export", "supported", "rewrites, or what is in the way"), rows, title="Exports", color=color, width=width
    )


def _obstacles(target: TargetSupport) -> list[str]:
    """Each operator with the reason; several of one type for one reason are counted, and the first layer is named."""
    alike: dict[tuple[str, str], list[Obstacle]] = {}
    for one in target.obstacles:
        alike.setdefault((one.operator, one.reason), []).append(one)
    found = []
    for (operator, reason), ones in alike.items():
        more = f", and {len(ones) - 1} more" if len(ones) > 1 else ""
        where = f" ({ones[0].layer}{more})" if ones[0].layer else ""
        found.append(f"{operator}{where}: {reason}")
    return found
