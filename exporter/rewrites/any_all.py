"""Rewrites reductions of masks as the largest or smallest number, for Paddle-Lite, whose Opt aborts on them."""

from __future__ import annotations

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import LITE, EachOperator, OpBuilder

_KINDS = {"reduce_any": "reduce_max", "reduce_all": "reduce_min"}


class AnyAllToReduction(EachOperator):
    """Whether the largest (any) or smallest (all) of the mask's zeros and ones is a one."""

    name = "any_all_to_reduction"
    version = "1"
    targets = LITE
    what = "reduce_any or reduce_all"
    became = "written as reduce_max or reduce_min"

    def takes(self, program: Program, op: Op) -> bool:
        is_mask = op.type in _KINDS and program.dtype(op.input("X") or "") == "bool"
        return is_mask and bool(program.shape(op.output("Out") or ""))

    def change(self, program: Program, op: Op) -> None:
        x, out = op.input("X") or "", op.output("Out") or ""
        dims, build = program.shape(out), OpBuilder(program, f"{out}.part")
        numbers = build.cast(x, program.shape(x), "float32")
        axes = {"dim": [int(axis) for axis in op.attr("dim") or [0]], "in_dtype": -1, "out_dtype": -1}
        axes |= {name: bool(op.attr(name)) for name in ("keep_dim", "reduce_all")}
        found = build.add(_KINDS[op.type], {"X": numbers}, dims, **axes)
        half = build.constant(0.5)
        build.add("greater_than", {"X": found, "Y": half}, dims, "bool", out=out, axis=-1)
        program.replace(op, *build.ops)
