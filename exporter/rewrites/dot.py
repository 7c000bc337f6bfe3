"""Rewrites dot as a product and a sum: paddle2onnx keeps the summed axis, Paddle-Lite lacks the operator."""

from __future__ import annotations

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import EVERY, EachOperator, OpBuilder


class DotToSum(EachOperator):
    """Rewrites the dot product of two vectors or of two batches of vectors."""

    name = "dot_to_sum"
    version = "1"
    targets = EVERY
    what = "dot"
    became = "written as a product and a sum"

    def takes(self, program: Program, op: Op) -> bool:
        return op.type == "dot"

    def change(self, program: Program, op: Op) -> None:
        x, y, out = op.input("X") or "", op.input("Y") or "", op.output("Out") or ""
        dtype = program.dtype(x)
        build = OpBuilder(program, f"{out}.product")
        product = build.binary("elementwise_mul", x, y, program.shape(x), dtype)
        attrs = {"dim": [-1], "keep_dim": False, "reduce_all": False, "in_dtype": -1, "out_dtype": -1}
        build.add("reduce_sum", {"X": product}, program.shape(out), dtype, out=out, **attrs)
        program.replace(op, *build.ops)
