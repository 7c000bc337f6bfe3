"""Sets the head of an export: logits, probabilities, or a class mask at full or reduced size.

Softmax and argmax over an image cost as much as a layer, and an app needs one byte per pixel. If the network upsamples
its scores last, the argmax can run before the upsampling: it processes a fraction of the pixels, no score is
interpolated, and the mask has the network's stride. This follows the Valid Interpolate Module (Tang et al.,
"PP-MobileSeg: Explore the Fast and Accurate Semantic Segmentation Model on Mobile Devices", 2023, section 3.4), which
determines the present classes before the last upsampling and interpolates only those. Their number depends on the
image, which no fixed graph can express, so the class map is upsampled by nearest neighbour when the mask is resized to
the image.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from segexport.artifact import Manifest, ModelArtifact, file_entry
from segexport.errors import UnsupportedModelError
from segexport.exporter import program as programs
from segexport.exporter.framework_proto import DTYPE_CODE
from segexport.exporter.mask_output import MASKS, mask_of
from segexport.exporter.output_semantics import INTERPOLATION, is_identity_scale, recognise
from segexport.exporter.program import Attr, Op, Program
from segexport.exporter.quantization_ranges import passed_on
from segexport.pipeline.step import StepContext, lineage_entry
from segexport.spec import Format, Frozen, HeadKind, MaskDtype

_LAST_CLASS_OF_UINT8 = 255


class SetHead:
    """Replaces the head of a Paddle program's segmentation, which is its first segmentation output."""

    kind = "set_head"
    version = "1"
    accepts = Format.PADDLE
    produces = Format.PADDLE
    needs = ()
    uses_data = False

    class Params(Frozen):
        """`head`: see `set_head`. `dtype`: type of a class mask; scores stay float."""

        head: HeadKind = "keep"
        dtype: MaskDtype = "int32"

    def __init__(self, params: Params | None = None) -> None:
        self.params = params or self.Params()

    def run(self, source: ModelArtifact, out_dir: Path, context: StepContext) -> Manifest:
        """Writes `model.pdmodel` and `model.pdiparams`.

        Raises:
            UnsupportedModelError: The outputs do not support this head; names the blocking operator.
        """
        before = source.manifest
        original = programs.read(source.file("model"), source.file("params"))
        changed, notes = set_head(original, self.params.head, self.params.dtype, mask_of(before.outputs))
        model, params = changed.write(out_dir)
        kept = {spec.name: spec for spec in before.outputs}
        return before.model_copy(
            update={
                "files": (
                    file_entry(out_dir, model.name),
                    file_entry(out_dir, params.name, "params"),
                    *passed_on(source, out_dir),
                ),
                "outputs": tuple(kept.get(spec.name, spec) for spec in changed.outputs()),
                "lineage": (*before.lineage, lineage_entry(self, context.key, tuple(notes))),
                "sample": None,
            }
        )


def declared_small_mask(manifest: Manifest) -> tuple[int, int] | None:
    """Returns (height, width) of the mask of an `argmax_small` export; None if masks have the input's size."""
    if not any(entry.step == SetHead.kind and entry.params.get("head") == "argmax_small" for entry in manifest.lineage):
        return None
    spec = next((spec for spec in manifest.outputs if spec.semantics == "class_index"), None)
    if spec is None or not {"H", "W"} <= set(spec.layout):
        return None
    return spec.shape[spec.layout.index("H")], spec.shape[spec.layout.index("W")]


def set_head(
    program: Program, head: HeadKind, dtype: MaskDtype = "int32", output: str = ""
) -> tuple[Program, list[str]]:
    """Returns a copy of the program with another segmentation head.

    Args:
        program: A program with a segmentation output.
        head: "keep": unchanged. "logits": removes a final softmax, sigmoid or argmax. "softmax": probabilities
            (a sigmoid for one channel). "argmax": class indices; removes a softmax before it, which does not change
            the order. "argmax_small": class indices of the scores before their last upsampling, at that size.
        dtype: Type of class indices.
        output: The segmentation output; default: the first one.

    Returns:
        The copy, and lineage notes.

    Raises:
        UnsupportedModelError: The outputs do not support this head.
    """
    changed = program.copy()
    if head == "keep":
        return changed, []
    fetch = _segmentation(changed, output)
    name = fetch.input("X") or ""
    found = recognise(changed, name)
    scores = _strip(changed, name)
    if head == "argmax_small":
        new, notes = _argmax_small(changed, fetch, scores, dtype)
    elif head == "argmax":
        new, notes = _argmax(changed, fetch, name, scores, dtype)
    elif head == "softmax" and found.semantics == "probability":
        return changed, ["the head is a softmax already"]
    else:
        new, notes = _scores(changed, fetch, name, scores, head)
    if scores.taken_off:
        notes.insert(0, f"taken off: {', '.join(op.type for op in scores.taken_off)}")
    fetch.rename(name, new)
    changed.prune()
    changed.verify("the program with another head")
    return changed, notes


class _Scores(NamedTuple):
    """The scores before an output's head.

    Attributes:
        name: Variable of the scores.
        taken_off: The argmax and softmax operators between scores and output.
        blocked: An operator after an argmax that does more than copy; None if there is none.
    """

    name: str
    taken_off: list[Op]
    blocked: Op | None


def _segmentation(program: Program, output: str) -> Op:
    """Returns the fetch of `output`, or of the first segmentation output, from which runtimes read masks."""
    fetches = sorted((op for op in program.ops if op.type == "fetch"), key=lambda op: op.attr("col", 0))
    found = [recognise(program, op.input("X") or "").semantics for op in fetches]
    for op, semantics in zip(fetches, found, strict=True):
        if semantics in MASKS and output in ("", op.input("X")):
            return op
    raise UnsupportedModelError(
        "no output can take another head",
        cause=f"the outputs hold {', '.join(found)}; a head is set on logits, probabilities or class indices",
    )


def _strip(program: Program, output: str) -> _Scores:
    """Traces back through copies, an argmax, and a softmax or sigmoid."""
    producers = program.producers()
    name, behind, taken_off = output, output, []
    while (op := producers.get(behind)) is not None:
        behind = op.input("X") or ""
        if op.type in ("arg_max", "softmax", "sigmoid"):
            taken_off.append(op)
            name = behind
        elif not (op.type in ("assign", "cast") or is_identity_scale(op)):
            break
        elif taken_off or not program.dtype(behind).startswith("int"):
            name = behind
    if recognise(program, name).semantics == "logits":
        return _Scores(name, taken_off, None)
    return _Scores(name, taken_off, op)


def _argmax(program: Program, fetch: Op, name: str, scores: _Scores, dtype: MaskDtype) -> tuple[str, list[str]]:
    if scores.blocked is None or recognise(program, scores.name).semantics == "probability":
        axis = recognise(program, scores.name).layout.index("C")
        return _indices(program, fetch, scores.name, dtype, axis), [f"argmax as {dtype}"]
    # The program's argmax is followed by operators that shape the mask: keep it and change only its type.
    if program.dtype(name) == dtype:
        return name, [f"the head is an argmax as {dtype} already"]
    _require_bytes(recognise(program, name).num_classes, dtype)
    return _cast(program, fetch, name, dtype), [f"the argmax of the program, as {dtype}"]


def _scores(program: Program, fetch: Op, name: str, scores: _Scores, head: HeadKind) -> tuple[str, list[str]]:
    if scores.blocked is not None:
        raise UnsupportedModelError(
            f"the head of output {name!r} cannot become {head}",
            cause=f"operator {scores.blocked.type} is between its scores and the output",
        )
    if head == "logits":
        return (scores.name, ["logits"]) if scores.taken_off else (name, ["the output holds logits already"])
    found, dims = recognise(program, scores.name), program.shape(scores.name)
    axis = found.layout.index("C")
    kind, attrs = ("sigmoid", {}) if dims[axis] == 1 else ("softmax", {"axis": Attr("INT", axis)})
    out = program.add_var("softmax_head", dims, program.dtype(scores.name))
    program.insert_before(fetch, Op(kind, {"X": [scores.name]}, {"Out": [out]}, attrs))
    return out, [kind]


def _argmax_small(program: Program, fetch: Op, scores: _Scores, dtype: MaskDtype) -> tuple[str, list[str]]:
    op = program.producers().get(scores.name)
    hint = "argmax works for every tail"
    if op is None or op.type not in INTERPOLATION:
        tail = op.type if op is not None else "nothing"
        raise UnsupportedModelError(
            "the argmax cannot be taken before the last upsampling: there is none",
            cause=f"the scores {scores.name!r} come out of {tail}, not of an interpolation",
            hint=hint,
        )
    small = op.input("X") or ""
    layout = recognise(program, scores.name).layout
    sides = [(program.shape(small)[at], program.shape(scores.name)[at]) for at in map(layout.index, "HW")]
    if any(side < 1 for pair in sides for side in pair):
        raise UnsupportedModelError(
            "argmax_small needs a fixed input size",
            cause="the small mask's size is part of what the export promises, and it follows the input's",
            hint="fix the input with --input-size WxH (input_size in a recipe), or use argmax",
        )
    if not all(before <= after for before, after in sides) or all(before == after for before, after in sides):
        sizes = " to ".join("x".join(str(pair[end]) for pair in reversed(sides)) for end in (0, 1))
        raise UnsupportedModelError(
            "the argmax cannot be taken before the last upsampling: there is none",
            cause=f"the last {op.type} brings {sizes}, which enlarges nothing",
            hint=hint,
        )
    (height, full_height), (width, full_width) = sides
    grid = "align_corners" if op.attr("align_corners") else "half-pixel" if op.attr("align_mode") == 0 else "corner"
    note = f"argmax as {dtype} at {width}x{height}, before {op.type} to {full_width}x{full_height} ({grid} grid)"
    if recognise(program, small).semantics == "class_index":  # already before the upsampling
        return small if program.dtype(small) == dtype else _cast(program, fetch, small, dtype), [note]
    return _indices(program, fetch, small, dtype, layout.index("C")), [note]


def _indices(program: Program, fetch: Op, scores: str, dtype: MaskDtype, axis: int) -> str:
    """Appends the argmax over `axis`, with a cast for uint8."""
    dims = program.shape(scores)
    if dims[axis] == 1:
        raise UnsupportedModelError(
            f"{scores!r} cannot end in argmax: it has one channel",
            cause="one channel is a binary mask's score, which a threshold decides",
            hint="keep the head; masks are made from one channel too",
        )
    _require_bytes(dims[axis], dtype)
    indices = program.add_var("argmax_head", dims[:axis] + dims[axis + 1 :], "int32")
    attrs = {
        "axis": Attr("LONG", axis),
        "dtype": Attr("INT", DTYPE_CODE["int32"]),
        "keepdims": Attr("BOOLEAN", False),
        "flatten": Attr("BOOLEAN", False),
    }
    program.insert_before(fetch, Op("arg_max", {"X": [scores]}, {"Out": [indices]}, attrs))
    return indices if dtype == "int32" else _cast(program, fetch, indices, dtype)


def _cast(program: Program, fetch: Op, name: str, dtype: str) -> str:
    out = program.add_var("argmax_head", program.shape(name), dtype)
    attrs = {
        "in_dtype": Attr("INT", DTYPE_CODE[program.dtype(name)]),
        "out_dtype": Attr("INT", DTYPE_CODE[dtype]),
    }
    program.insert_before(fetch, Op("cast", {"X": [name]}, {"Out": [out]}, attrs))
    return out


def _require_bytes(classes: int, dtype: str) -> None:
    if dtype == "uint8" and classes > _LAST_CLASS_OF_UINT8 + 1:
        raise UnsupportedModelError(
            f"{classes} classes do not fit into a mask of uint8",
            cause=f"its largest class is {_LAST_CLASS_OF_UINT8}",
            hint="use int32",
        )
