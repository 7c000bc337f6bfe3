"""Rewrites norms other than the Euclidean norm along an axis as reductions.

paddle2onnx treats p = infinity and p = 0 as p = 2; Paddle-Lite always computes the Euclidean norm along an axis, even
for the norm of the whole tensor.
"""

from __future__ import annotations

import math

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import EVERY, EachOperator, OpBuilder

_EUCLIDEAN = 2.0


class PNormToReduction(EachOperator):
    """sum(|x| ** p) ** (1 / p); largest or smallest magnitude for infinite p; number of non-zeros for p = 0."""

    name = "p_norm_to_reduction"
    version = "2"
    targets = EVERY
    what = "p_norm"
    became = "written as a reduction"

    def takes(self, program: Program, op: Op) -> bool:
        return op.type == "p_norm" and (bool(op.attr("asvector")) or op.attr("porder", _EUCLIDEAN) != _EUCLIDEAN)

    def change(self, program: Program, op: Op) -> None:
        x, out, order = op.input("X") or "", op.output("Out") or "", float(op.attr("porder", _EUCLIDEAN))
        dims, build = program.shape(x), OpBuilder(program, f"{op.output('Out')}.norm")
        axes = {"dim": [op.attr("axis", -1) % len(dims)], "keep_dim": bool(op.attr("keepdim"))}
        axes |= {"reduce_all": bool(op.attr("asvector")), "in_dtype": -1, "out_dtype": -1}
        if math.isinf(order):
            kind = "reduce_max" if order > 0 else "reduce_min"
            build.add(kind, {"X": build.add("abs", {"X": x}, dims)}, program.shape(out), out=out, **axes)
        elif order == 0:
            some = build.binary("not_equal", x, build.constant(0.0), dims, "bool")
            build.add("reduce_sum", {"X": build.cast(some, dims, "float32")}, program.shape(out), out=out, **axes)
        else:
            powers = build.add("abs", {"X": x}, dims)
            if order != 1:
                powers = build.add("pow", {"X": powers}, dims, factor=order)
            total = build.add("reduce_sum", {"X": powers}, program.shape(out), out=out if order == 1 else None, **axes)
            if order != 1:
                build.add("pow", {"X": total}, program.shape(out), out=out, factor=1 / order)
        program.replace(op, *build.ops)
