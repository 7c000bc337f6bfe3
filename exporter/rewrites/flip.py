"""Rewrites flips of axes of free size as a gather, for paddle2onnx, which flips axes of known size only."""

from __future__ import annotations

import numpy as np

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import ONNX, EachOperator, OpBuilder


class FlipOfFreeAxis(EachOperator):
    """Gathers from the last position to the first, counted at run time."""

    name = "flip_of_free_axis"
    version = "1"
    targets = frozenset({ONNX})
    what = "flip"
    became = "of a dynamic axis written as gather"

    def takes(self, program: Program, op: Op) -> bool:
        dims = program.shape(op.input("X") or "") if op.type == "flip" else ()
        return bool(dims) and any(dims[axis] < 0 for axis in op.attr("axis"))

    def change(self, program: Program, op: Op) -> None:
        source, out = op.input("X") or "", op.output("Out") or ""
        build = OpBuilder(program, f"{out}.flip")
        dims, dtype = program.shape(source), program.dtype(source)
        sizes = build.add("shape", {"Input": source}, (len(dims),), "int32")
        back = build.param(np.array([-1], np.int32))
        found, known = source, [axis for axis in op.attr("axis") if dims[axis] >= 0]
        if known:
            found = build.add("flip", {"X": found}, dims, dtype, axis=known)
        for axis in (axis % len(dims) for axis in op.attr("axis") if dims[axis] < 0):
            size = build.add("slice", {"Input": sizes}, (1,), "int32", axes=[0], starts=[axis], ends=[axis + 1])
            last = build.binary("elementwise_add", size, back, (1,), "int32")
            index = build.binary("elementwise_sub", last, build.positions(size), (-1,), "int32")
            found = build.add("gather", {"X": found, "Index": index}, dims, dtype, axis=axis)
        build.ops[-1].outputs["Out"] = [out]
        program.replace(op, *build.ops)
