"""Rewrites expand_as as expand, which every converter supports.

Paddle-Lite has no expand_as. paddle2onnx writes the recorded size, whose -1 ONNX Runtime cannot expand to.
"""

from __future__ import annotations

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import ONNX, EachOperator, OpBuilder, Target


class ExpandAsToExpand(EachOperator):
    """Rewrites a result of known size, for ONNX only where the recorded size is not."""

    name = "expand_as_to_expand"
    version = "2"
    what = "expand_as_v2"
    became = "written as expand_v2"

    def __init__(self, targets: frozenset[Target]) -> None:
        self.targets = targets

    def takes(self, program: Program, op: Op) -> bool:
        if op.type != "expand_as_v2" or -1 in program.shape(op.output("Out") or ""):
            return False
        return ONNX not in self.targets or -1 in op.attr("target_shape", [])

    def change(self, program: Program, op: Op) -> None:
        new = Op("expand_v2", {"X": op.inputs["X"]}, op.outputs)
        new.set_attr("shape", list(program.shape(op.output("Out") or "")), "INTS")
        program.replace(op, new)


class ExpandAsOfFreeSize(EachOperator):
    """Reads a dynamic size from the other tensor."""

    name = "expand_as_of_free_size"
    version = "1"
    targets = frozenset({ONNX})
    what = "expand_as_v2"
    became = "written as expand_v2 of a computed size"

    def takes(self, program: Program, op: Op) -> bool:
        return op.type == "expand_as_v2" and bool(op.input("Y")) and -1 in program.shape(op.output("Out") or "")

    def change(self, program: Program, op: Op) -> None:
        out, other = op.output("Out") or "", op.input("Y") or ""
        dims, build = program.shape(out), OpBuilder(program, f"{out}.size")
        size = build.add("shape", {"Input": other}, (len(dims),), "int32")
        build.add("expand_v2", {"X": op.input("X") or "", "Shape": size}, dims, out=out, shape=[-1] * len(dims))
        program.replace(op, *build.ops)
