"""Rewrites generate_proposals_v2 as top-k, box arithmetic and one non-maximum suppression, for paddle2onnx.

The steps follow Paddle: select the best `pre_nms_topN` scores of all anchors, apply the deltas, clip the boxes to the
image, drop boxes below one pixel, and suppress, keeping `post_nms_topN`. (Ren et al., "Faster R-CNN", 2015, section 3.)
"""

from __future__ import annotations

from math import log

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import ONNX, EachOperator, OpBuilder

_TYPE = "generate_proposals_v2"
_LARGEST_EXPONENT = log(1000.0 / 16.0)  # Paddle's limit on a box's growth
_DROPPED = -1e30


class ProposalsToNms(EachOperator):
    """Rewrites operators for one image of known size with continuous box corners (`pixel_offset` false)."""

    name = "proposals_to_nms"
    version = "1"
    targets = frozenset({ONNX})
    what = _TYPE
    became = "written as top_k_v2, box arithmetic and multiclass_nms3"

    def takes(self, program: Program, op: Op) -> bool:
        if op.type != _TYPE or op.attr("pixel_offset", True) or op.attr("eta", 1.0) != 1.0:
            return False
        scores = program.shape(op.input("Scores") or "")
        return len(scores) == 4 and scores[0] == 1 and -1 not in scores

    def change(self, program: Program, op: Op) -> None:
        program.replace(op, *_written_out(program, op))


def _written_out(program: Program, op: Op) -> list[Op]:
    build = OpBuilder(program, f"{op.output('RpnRois')}.proposal")
    _, per_cell, height, width = program.shape(op.input("Scores") or "")
    total = per_cell * height * width
    kept = min(total, op.attr("pre_nms_topN", 6000)) if op.attr("pre_nms_topN", 6000) > 0 else total
    scores = build.reshape(_channels_last(build, op.input("Scores") or "", (1, height, width, per_cell)), (1, total))
    deltas = build.reshape(
        _channels_last(build, op.input("BboxDeltas") or "", (1, height, width, 4 * per_cell)), (total, 4)
    )
    indices = program.add_var(f"{op.output('RpnRois')}.indices", (1, kept), "int64")
    best = build.add(
        "top_k_v2", {"X": scores}, (1, kept), also={"Indices": indices}, k=kept, axis=-1, largest=True, sorted=True
    )
    chosen = build.reshape(indices, (kept,))
    flat = [build.reshape(op.input(slot) or "", (total, 4)) for slot in ("Anchors", "Variances")]
    anchors, variances, steps = (build.rows(name, chosen, (kept, 4)) for name in (*flat, deltas))
    boxes = _decoded(build, anchors, build.binary("elementwise_mul", steps, variances, (kept, 4)), kept)
    clipped = _clipped(build, boxes, op.input("ImShape") or "", kept)
    large = _at_least(build, clipped, max(op.attr("min_size", 0.0), 1.0), kept)
    # Dropped boxes keep their rows and get a score that the suppression ignores.
    penalty = build.affine(large, (kept, 1), -_DROPPED, _DROPPED)
    wanted = build.binary("elementwise_add", build.reshape(best, (kept, 1)), penalty, (kept, 1))
    corners = build.add("concat", {"X": clipped}, (kept, 4), axis=1)
    after = min(kept, op.attr("post_nms_topN", 1000))
    number = op.output("RpnRoisNum") or program.add_var(f"{op.output('RpnRois')}.number", (1,), "int32")
    index = program.add_var(f"{op.output('RpnRois')}.index", (-1, 1), "int32")
    found = build.add(
        "multiclass_nms3",
        {"BBoxes": build.reshape(corners, (1, kept, 4)), "Scores": build.reshape(wanted, (1, 1, kept))},
        (-1, 6),
        also={"NmsRoisNum": number, "Index": index},
        background_label=-1,
        score_threshold=_DROPPED / 10,
        nms_top_k=kept,
        nms_threshold=op.attr("nms_thresh", 0.5),
        keep_top_k=after,
        nms_eta=1.0,
        normalized=True,
    )
    program.vars[number].dims = (-1,)
    for slot, start, end in (("RpnRois", 2, 6), ("RpnRoiProbs", 1, 2)):
        attrs = {"axes": [1], "starts": [start], "ends": [end], "infer_flags": [1], "decrease_axis": []}
        build.add("slice", {"Input": found}, (-1, end - start), out=op.output(slot), **attrs)
    return build.ops


def _channels_last(build: OpBuilder, name: str, dims: tuple[int, ...]) -> str:
    return build.add("transpose2", {"X": name}, dims, axis=[0, 2, 3, 1])


def _decoded(build: OpBuilder, anchors: str, steps: str, rows: int) -> list[str]:
    """Returns [left, top, right, bottom], each [rows, 1]."""
    dims = (rows, 1)
    low, high = [], []
    for axis in (0, 1):
        start = build.column(anchors, axis, rows)
        size = build.binary("elementwise_sub", build.column(anchors, axis + 2, rows), start, dims)
        middle = build.binary("elementwise_add", start, build.affine(size, dims, 0.5), dims)
        shift = build.binary("elementwise_mul", build.column(steps, axis, rows), size, dims)
        centre = build.binary("elementwise_add", shift, middle, dims)
        growth = build.column(steps, axis + 2, rows)
        growth = build.binary("elementwise_min", growth, build.constant(_LARGEST_EXPONENT), dims)
        extent = build.binary("elementwise_mul", build.add("exp", {"X": growth}, dims), size, dims)
        half = build.affine(extent, dims, 0.5)
        low.append(build.binary("elementwise_sub", centre, half, dims))
        high.append(build.binary("elementwise_add", centre, half, dims))
    return [*low, *high]


def _clipped(build: OpBuilder, sides: list[str], image_size: str, rows: int) -> list[str]:
    """Clips the sides to the image; `image_size` is (height, width), [1, 2]."""
    limits = [build.column(image_size, axis, 1) for axis in (1, 0)]
    zero, clipped = build.constant(0.0), []
    for index, side in enumerate(sides):
        below = build.binary("elementwise_min", side, limits[index % 2], (rows, 1))
        clipped.append(build.binary("elementwise_max", below, zero, (rows, 1)))
    return clipped


def _at_least(build: OpBuilder, sides: list[str], size: float, rows: int) -> str:
    """Returns 1.0 where width and height are at least `size`, else 0.0."""
    limit, large = build.constant(size), []
    for axis in (0, 1):
        extent = build.binary("elementwise_sub", sides[axis + 2], sides[axis], (rows, 1))
        fits = build.binary("greater_equal", extent, limit, (rows, 1), "bool")
        large.append(build.cast(fits, (rows, 1), "float32"))
    return build.binary("elementwise_mul", large[0], large[1], (rows, 1))
