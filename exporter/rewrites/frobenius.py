"""Rewrites the Frobenius norm as the root of a sum of squares: no converter supports the operator."""

from __future__ import annotations

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import EVERY, EachOperator, OpBuilder


class FrobeniusNormToReduction(EachOperator):
    """sqrt(sum(x * x)) over the same axes."""

    name = "frobenius_norm_to_reduction"
    version = "1"
    targets = EVERY
    what = "frobenius_norm"
    became = "written as a reduction"

    def takes(self, program: Program, op: Op) -> bool:
        return op.type == "frobenius_norm"

    def change(self, program: Program, op: Op) -> None:
        x, out = op.input("X") or "", op.output("Out") or ""
        dims, dtype, build = program.shape(out), program.dtype(x), OpBuilder(program, f"{out}.norm")
        squares = build.binary("elementwise_mul", x, x, program.shape(x), dtype)
        axes = {name: op.attr(name) for name in ("dim", "keep_dim", "reduce_all")}
        total = build.add("reduce_sum", {"X": squares}, dims, dtype, in_dtype=-1, out_dtype=-1, **axes)
        build.add("sqrt", {"X": total}, dims, dtype, out=out)
        program.replace(op, *build.ops)
