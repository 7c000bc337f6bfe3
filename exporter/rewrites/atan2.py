"""Rewrites atan2 as atan, for paddle2onnx, which writes angles of the wrong quadrant."""

from __future__ import annotations

import math

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import ONNX, EachOperator, OpBuilder


class Atan2ToAtan(EachOperator):
    """atan(y / x), half a turn further where x is negative; reciprocals tell -0 from 0."""

    name = "atan2_to_atan"
    version = "1"
    targets = frozenset({ONNX})
    what = "atan2"
    became = "written as atan"

    def takes(self, program: Program, op: Op) -> bool:
        return op.type == "atan2" and program.dtype(op.input("X1") or "") == "float32"

    def change(self, program: Program, op: Op) -> None:
        y, x, out = op.input("X1") or "", op.input("X2") or "", op.output("Out") or ""
        dims, build = program.shape(out), OpBuilder(program, f"{out}.part")
        zero = build.constant(0.0)

        def hit(kind: str, value: str) -> str:
            return build.cast(build.binary(kind, value, zero, dims, "bool"), dims, "float32")

        def signed(kind: str, value: str) -> str:
            inverse = build.add("reciprocal", {"X": value}, dims)
            return build.binary("elementwise_max", hit(kind, value), hit(kind, inverse), dims)

        length, height = (build.add("abs", {"X": value}, dims) for value in (x, y))
        nothing = hit("equal", build.binary("elementwise_add", length, height, dims))  # 0 / 0 is NaN: divide by 1
        slope = build.binary("elementwise_div", y, build.binary("elementwise_add", x, nothing, dims), dims)
        half_turn = build.affine(signed("greater_than", y), dims, 2 * math.pi, -math.pi)
        turn = build.binary("elementwise_mul", signed("less_than", x), half_turn, dims)
        angle = build.add("atan", {"X": slope}, dims)
        build.add("elementwise_add", {"X": angle, "Y": turn}, dims, out=out, axis=-1)
        program.replace(op, *build.ops)
