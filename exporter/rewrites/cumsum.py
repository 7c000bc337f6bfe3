"""Rewrites reverse and exclusive cumulative sums as plain ones: paddle2onnx ignores both attributes."""

from __future__ import annotations

from math import prod

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import ONNX, EachOperator, OpBuilder


class CumsumToPlain(EachOperator):
    """Flips the axis before and after the sum (reverse), and subtracts the element (exclusive)."""

    name = "cumsum_to_plain"
    version = "1"
    targets = frozenset({ONNX})
    what = "cumsum"
    became = "written as a plain one"

    def takes(self, program: Program, op: Op) -> bool:
        return op.type == "cumsum" and bool(op.attr("reverse") or op.attr("exclusive"))

    def change(self, program: Program, op: Op) -> None:
        x, out, axis = op.input("X") or "", op.output("Out") or "", op.attr("axis", -1)
        dims, dtype = program.shape(x), program.dtype(x)
        build = OpBuilder(program, f"{out}.part")
        if op.attr("flatten"):
            dims, axis = (-1 if -1 in dims else prod(dims),), 0
            x = build.reshape(x, dims)
        if op.attr("reverse"):
            x = build.add("flip", {"X": x}, dims, dtype, axis=[axis])
        attrs = {"axis": axis, "flatten": False, "reverse": False, "exclusive": False}
        total = build.add("cumsum", {"X": x}, dims, dtype, **attrs)
        if op.attr("exclusive"):
            total = build.binary("elementwise_sub", total, x, dims, dtype)
        if op.attr("reverse"):
            total = build.add("flip", {"X": total}, dims, dtype, axis=[axis])
        build.add("assign", {"X": total}, dims, dtype, out=out)
        program.replace(op, *build.ops)
