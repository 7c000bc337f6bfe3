"""Rewrites distribute_fpn_proposals in operators that paddle2onnx supports.

A box belongs to level floor(refer_level + log2(sqrt(area) / refer_scale)), clipped to the existing levels (Lin et al.,
"Feature Pyramid Networks", 2017, equation 1). The rewrite gathers the boxes of each level by index; the sorted indices
restore the boxes' order.
"""

from __future__ import annotations

from math import log

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import ONNX, EachOperator, OpBuilder

_TYPE = "distribute_fpn_proposals"


class FpnLevelsToIndices(EachOperator):
    """Rewrites operators for one image with continuous box corners (`pixel_offset` false)."""

    name = "fpn_levels_to_indices"
    version = "1"
    targets = frozenset({ONNX})
    what = _TYPE
    became = "written as comparisons, where_index and argsort"

    def takes(self, program: Program, op: Op) -> bool:
        return op.type == _TYPE and not op.attr("pixel_offset", True)

    def change(self, program: Program, op: Op) -> None:
        program.replace(op, *_written_out(program, op))


def _written_out(program: Program, op: Op) -> list[Op]:
    boxes = op.input("FpnRois") or ""
    build = OpBuilder(program, f"{op.output('RestoreIndex')}.level")
    levels = range(op.attr("min_level"), op.attr("max_level") + 1)
    level = _level(build, op, boxes)
    indices = []
    for number, wanted in enumerate(levels):
        here = build.binary("equal", level, build.constant(float(wanted)), (-1, 1), "bool")
        place = build.add("where_index", {"Condition": build.reshape(here, (-1,))}, (-1, 1), "int64")
        place = build.reshape(place, (-1,))
        indices.append(place)
        mine = op.outputs["MultiFpnRois"][number]
        build.add("gather", {"X": boxes, "Index": place}, (-1, 4), out=mine, axis=0)
        if op.outputs.get("MultiLevelRoIsNum"):
            build.add("shape", {"Input": place}, (1,), "int32", slot="Out", out=op.outputs["MultiLevelRoIsNum"][number])
    order = build.add("concat", {"X": indices}, (-1,), "int64", axis=0)
    number = build.cast(order, (-1,), "float32")
    sorted_values = program.add_var(f"{op.output('RestoreIndex')}.sorted", (-1,), "float32")
    places = build.add(
        "argsort", {"X": number}, (-1,), "int64", slot="Indices", also={"Out": sorted_values}, axis=-1, descending=False
    )
    column = build.reshape(places, (-1, 1))
    build.cast(column, (-1, 1), "int32", out=op.output("RestoreIndex"))
    return build.ops


def _level(build: OpBuilder, op: Op, boxes: str) -> str:
    """Returns each box's level, [-1, 1] float32."""
    dims = (-1, 1)
    sides = [build.column(boxes, index, -1) for index in range(4)]
    width, height = (build.binary("elementwise_sub", sides[axis + 2], sides[axis], dims) for axis in (0, 1))
    scale = build.add("sqrt", {"X": build.binary("elementwise_mul", width, height, dims)}, dims)
    ratio = build.affine(scale, dims, 1.0 / op.attr("refer_scale"), 1e-6)
    exponent = build.affine(build.add("log", {"X": ratio}, dims), dims, 1.0 / log(2.0), op.attr("refer_level"))
    level = build.add("floor", {"X": exponent}, dims)
    level = build.binary("elementwise_max", level, build.constant(float(op.attr("min_level"))), dims)
    return build.binary("elementwise_min", level, build.constant(float(op.attr("max_level"))), dims)
