"""Takes parts of a tensor before a transpose that moves the batch axis, instead of after it, for ncnn.

Attention computes queries, keys and values in one product: [batch, tokens, 3, heads, width], transposed to [3, batch,
heads, tokens, width], of which it takes each third. ncnn's tensors have no batch axis, so no other axis can take its
place. Here each third is a slice of [batch, tokens, 3 * heads * width] and is transposed by itself; the values are the
same.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

from segexport.artifact import Manifest, ModelArtifact, file_entry
from segexport.exporter import program as programs
from segexport.exporter.program import Op, Program
from segexport.exporter.quantization_ranges import passed_on
from segexport.exporter.rewrites.base import OpBuilder, count
from segexport.pipeline.step import StepContext, lineage_entry
from segexport.spec import Format, Frozen


class PartsFirst:
    """Applies `parts_first` to a Paddle program."""

    kind = "parts_first"
    version = "1"
    accepts = Format.PADDLE
    produces = Format.PADDLE
    needs = ()
    uses_data = False

    class Params(Frozen):
        """No parameters."""

    def __init__(self, params: Params | None = None) -> None:
        self.params = params or self.Params()

    def run(self, source: ModelArtifact, out_dir: Path, context: StepContext) -> Manifest:
        """Writes `model.pdmodel` and `model.pdiparams`."""
        changed, moved = parts_first(programs.read(source.file("model"), source.file("params")))
        model, params = changed.write(out_dir)
        files = (file_entry(out_dir, model.name), file_entry(out_dir, params.name, "params"))
        notes = (f"{count(moved, 'transpose2')} moved behind the parts that are taken of the result",) if moved else ()
        return source.manifest.model_copy(
            update={
                "files": (*files, *passed_on(source, out_dir)),
                "lineage": (*source.manifest.lineage, lineage_entry(self, context.key, notes)),
                "sample": None,
            }
        )


def parts_first(program: Program) -> tuple[Program, int]:
    """Returns a copy in which each such transpose is behind the parts that are taken; and the number of them.

    The batch axis has to come second, and each reader has to take one index of the first axis.
    """
    changed, moved = program.copy(), 0
    producers, consumers = changed.producers(), changed.consumers()
    for op in [op for op in changed.ops if op.type in ("transpose", "transpose2")]:
        axes, source = op.attr("axis") or [], op.input("X") or ""
        if len(axes) < 2 or axes[0] == 0 or axes[1] != 0:
            continue
        sizes = (max(changed.shape(source)[0], 1), *changed.shape(source)[1:])  # an unknown batch: ncnn has one image
        readers = consumers.get(op.output("Out") or "", [])
        parts = _parts(readers, sizes[axes[0]])
        is_known = -1 not in sizes[axes[0] :] and sizes.count(-1) < 2
        if not parts or not is_known:
            continue
        build = OpBuilder(changed, f"{op.output('Out')}.part")
        _take(build, changed, _before_reshapes(producers, source), list(axes), sizes, parts)
        changed.replace(op, *build.ops)
        for reader in readers:
            changed.replace(reader)
        moved += 1
    if moved:
        changed.prune()
        changed.verify("the program with parts taken first")
    return changed, moved


def _parts(readers: list[Op], size: int) -> dict[str, int]:
    """Returns each part -> its index; empty if anything else reads the tensor."""
    parts: dict[str, int] = {}
    for reader in readers:
        if reader.type in ("unbind", "unstack") and reader.attr("axis", 0) == 0:
            parts |= {name: index for index, name in enumerate(reader.output_names())}
        elif _takes_one(reader):
            parts[reader.output("Out") or ""] = reader.attr("starts")[0] % size
        else:
            return {}
    return parts


def _takes_one(op: Op) -> bool:
    is_constant = op.type == "slice" and list(op.input_names()) == op.inputs.get("Input")
    return is_constant and op.attr("axes") == [0] and op.attr("decrease_axis") == [0]


def _before_reshapes(producers: Mapping[str, Op], name: str) -> str:
    """Returns a tensor with the same values in the same order, which no reshape makes: ncnn has few axes."""
    while (maker := producers.get(name)) is not None and maker.type == "reshape2":
        name = maker.input("X") or ""
    return name


def _take(
    build: OpBuilder, program: Program, source: str, axes: list[int], sizes: tuple[int, ...], parts: dict[str, int]
) -> None:
    """Adds the operators that compute the parts of a tensor of `sizes`, whose values `source` has in the same order."""
    taken, dtype = axes[0], program.dtype(source)
    width = prod(sizes[taken + 1 :])
    rows = prod(sizes[1:taken]) if -1 not in sizes else -1
    whole = build.reshape(source, (sizes[0], rows, sizes[taken] * width))
    rest = [size for axis, size in enumerate(sizes) if axis != taken]
    order = [axis - (axis > taken) for axis in axes[1:]]
    for part, index in parts.items():
        cut: dict[str, Any] = {
            "starts": [index * width],
            "ends": [(index + 1) * width],
            "axes": [2],
            "infer_flags": [1],
        }
        one = build.add("slice", {"Input": whole}, (sizes[0], rows, width), dtype, decrease_axis=[], **cut)
        apart = build.reshape(one, tuple(rest))
        shadow = program.add_var(f"{part}.xshape", (0, *rest), dtype)
        dims = tuple(rest[axis] for axis in order)
        build.add("transpose2", {"X": apart}, dims, dtype, out=part, also={"XShape": shadow}, axis=order)
