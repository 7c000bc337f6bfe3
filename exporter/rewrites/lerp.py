"""Rewrites lerp as arithmetic: no converter supports it."""

from __future__ import annotations

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import EVERY, EachOperator, OpBuilder


class LerpToArithmetic(EachOperator):
    """x + weight * (y - x), as Paddle computes it."""

    name = "lerp_to_arithmetic"
    version = "1"
    targets = EVERY
    what = "lerp"
    became = "written as arithmetic"

    def takes(self, program: Program, op: Op) -> bool:
        return op.type == "lerp"

    def change(self, program: Program, op: Op) -> None:
        x, y, weight, out = *(op.input(slot) or "" for slot in ("X", "Y", "Weight")), op.output("Out") or ""
        dims, dtype, build = program.shape(out), program.dtype(x), OpBuilder(program, f"{out}.part")
        way = build.binary("elementwise_sub", y, x, dims, dtype)
        part = build.binary("elementwise_mul", way, weight, dims, dtype)
        build.add("elementwise_add", {"X": part, "Y": x}, dims, dtype, out=out, axis=-1)
        program.replace(op, *build.ops)
