"""Rewrites non-maximum suppression of per-class boxes in operators that paddle2onnx supports.

ONNX's suppression shares boxes among all classes. The rewrite moves the boxes of different classes apart so that they
never overlap; one suppression over all boxes then equals one per class. It uses only the best 8192 scores, which bounds
the cost: the result is exact as long as `keep_top_k` boxes remain among them.
"""

from __future__ import annotations

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import ONNX, OpBuilder, count

_TYPE = "multiclass_nms3"
_CANDIDATES = 8192
_ROWS = 8192  # class and row fit one float32 exactly: below 2^24 with fewer than 2048 classes


class ClassNmsToSharedNms:
    """Rewrites the single-image form: corners [boxes, classes, 4] and scores [boxes, classes]."""

    name = "class_nms_to_shared_nms"
    version = "1"
    targets = frozenset({ONNX})

    def applies(self, program: Program) -> bool:
        readers = program.consumers()
        return any(_can_change(program, op, readers) for op in program.ops)

    def apply(self, program: Program) -> list[str]:
        readers = program.consumers()
        changed = [op for op in program.ops if _can_change(program, op, readers)]
        for op in changed:
            program.replace(op, *_written_out(program, op))
        return [
            f"{count(len(changed), _TYPE)} with boxes per class written as one of shared boxes, moved apart by class"
        ]


def _can_change(program: Program, op: Op, readers: dict[str, list[Op]]) -> bool:
    if op.type != _TYPE or not op.input("RoisNum") or readers.get(op.output("Index") or ""):
        return False
    scores, background = program.shape(op.input("Scores") or ""), op.attr("background_label", -1)
    plain = op.attr("nms_eta", 1.0) == 1.0 and op.attr("nms_top_k", -1) < 0 and op.attr("normalized", True)
    return plain and len(scores) == 2 and 0 < scores[1] < 2048 and not 0 <= background < scores[1]


def _written_out(program: Program, op: Op) -> list[Op]:
    build = OpBuilder(program, f"{op.output('Out')}.nms")
    classes = program.shape(op.input("Scores") or "")[1]
    scores, boxes, indices = _candidates(program, build, op)
    number = build.cast(indices, (-1,), "float32")
    row = build.add("floor", {"X": build.affine(number, (-1,), 1.0 / classes, 0.5 / classes)}, (-1,))
    label = build.binary("elementwise_sub", number, build.affine(row, (-1,), classes), (-1,))
    attrs = {"dim": [0, 1], "keep_dim": False, "reduce_all": True, "in_dtype": -1, "out_dtype": -1}
    largest = build.add("reduce_max", {"X": boxes}, (1,), **attrs)
    span = build.affine(build.reshape(largest, (1,)), (1,), 1.0, 1.0)
    offset = build.reshape(build.binary("elementwise_mul", label, span, (-1,)), (-1, 1))
    apart = build.binary("elementwise_add", boxes, offset, (-1, 4))
    chosen = _suppressed(program, build, op, apart, scores)
    key = build.binary("elementwise_add", build.affine(label, (-1,), _ROWS), row, (-1,))
    # Paddle lists the kept boxes by class, then in input order.
    kept = build.rows(chosen, _order(program, build, build.rows(key, chosen, (-1,))), (-1,))
    columns = [build.reshape(build.rows(name, kept, (-1,)), (-1, 1)) for name in (label, scores)]
    result = op.output("Out") or ""
    build.add("concat", {"X": [*columns, build.rows(boxes, kept, (-1, 4))]}, (-1, 6), out=result, axis=1)
    if op.output("NmsRoisNum"):
        build.add("shape", {"Input": kept}, (1,), "int32", out=op.output("NmsRoisNum"))
    return build.ops


def _candidates(program: Program, build: OpBuilder, op: Op) -> tuple[str, str, str]:
    """Returns the best scores, their boxes [n, 4], and their indices among all scores."""
    flat = build.reshape(op.input("Scores") or "", (-1,))
    total = build.add("shape", {"Input": flat}, (1,), "int32")
    limit = build.binary("elementwise_min", total, build.constant(_CANDIDATES, "int32"), (1,), "int32")
    indices = program.add_var(f"{op.output('Out')}.indices", (-1,), "int64")
    attrs = {"k": 1, "axis": -1, "largest": True, "sorted": True}
    scores = build.add("top_k_v2", {"X": flat, "K": limit}, (-1,), also={"Indices": indices}, **attrs)
    corners = build.reshape(op.input("BBoxes") or "", (-1, 4))
    return scores, build.rows(corners, indices, (-1, 4)), indices


def _suppressed(program: Program, build: OpBuilder, op: Op, boxes: str, scores: str) -> str:
    """Returns the indices of the candidates that suppression keeps."""
    index = program.add_var(f"{op.output('Out')}.index", (-1, 1), "int32")
    number = program.add_var(f"{op.output('Out')}.number", (-1,), "int32")
    inputs = {"BBoxes": build.reshape(boxes, (1, -1, 4)), "Scores": build.reshape(scores, (1, 1, -1))}
    # paddle2onnx requires a constant here and uses it only for classes after the first.
    program.vars[inputs["BBoxes"]].dims = (1, _CANDIDATES, 4)
    program.vars[inputs["Scores"]].dims = (1, 1, _CANDIDATES)
    build.add(
        _TYPE,
        inputs,
        (-1, 6),
        also={"NmsRoisNum": number, "Index": index},
        background_label=-1,
        score_threshold=op.attr("score_threshold", 0.0),
        nms_top_k=_CANDIDATES,
        nms_threshold=op.attr("nms_threshold", 0.3),
        keep_top_k=op.attr("keep_top_k", -1),
        nms_eta=1.0,
        normalized=True,
    )
    return build.reshape(index, (-1,))


def _order(program: Program, build: OpBuilder, key: str) -> str:
    sorted_keys = program.add_var(f"{key}.sorted", (-1,), "float32")
    attrs = {"axis": -1, "descending": False}
    return build.add("argsort", {"X": key}, (-1,), "int64", slot="Indices", also={"Out": sorted_keys}, **attrs)
