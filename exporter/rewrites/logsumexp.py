"""Rewrites logsumexp as reductions: Paddle-Lite lacks the operator, OpenVINO sums over all axes.

OpenVINO's reader ignores the axes of ONNX's ReduceLogSumExp before opset 18.
"""

from __future__ import annotations

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import EVERY, EachOperator, OpBuilder


class LogsumexpToReductions(EachOperator):
    """max + log(sum(exp(x - max))), which does not overflow."""

    name = "logsumexp_to_reductions"
    version = "2"
    targets = EVERY
    what = "logsumexp"
    became = "written as reductions"

    def takes(self, program: Program, op: Op) -> bool:
        return op.type == "logsumexp" and bool(program.shape(op.output("Out") or ""))

    def change(self, program: Program, op: Op) -> None:
        x, out = op.input("X") or "", op.output("Out") or ""
        dims, build = program.shape(x), OpBuilder(program, f"{out}.part")
        everything = bool(op.attr("reduce_all"))
        axes = sorted(axis % len(dims) for axis in (range(len(dims)) if everything else op.attr("axis")))
        kept = tuple(1 if axis in axes else size for axis, size in enumerate(dims))
        attrs = {"dim": axes, "keep_dim": True, "reduce_all": False, "in_dtype": -1, "out_dtype": -1}
        largest = build.add("reduce_max", {"X": x}, kept, **attrs)
        powers = build.add("exp", {"X": build.binary("elementwise_sub", x, largest, dims)}, dims)
        logarithm = build.add("log", {"X": build.add("reduce_sum", {"X": powers}, kept, **attrs)}, kept)
        if op.attr("keepdim"):
            build.add("elementwise_add", {"X": logarithm, "Y": largest}, kept, out=out, axis=-1)
        else:
            total = build.binary("elementwise_add", logarithm, largest, kept)
            shadow = program.add_var(f"{out}.xshape", (0, *kept), "float32")
            result = tuple(size for axis, size in enumerate(dims) if axis not in axes)
            build.add("squeeze2", {"X": total}, result, out=out, also={"XShape": shadow}, axes=axes)
        program.replace(op, *build.ops)
