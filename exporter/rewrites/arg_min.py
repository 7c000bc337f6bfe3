"""Rewrites arg_min as arg_max of the negated values: Paddle-Lite lacks arg_min. Both take the first of equals."""

from __future__ import annotations

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import LITE, EachOperator, OpBuilder


class ArgMinToArgMax(EachOperator):
    """Negates the values."""

    name = "arg_min_to_arg_max"
    version = "1"
    targets = LITE
    what = "arg_min"
    became = "written as arg_max"

    def takes(self, program: Program, op: Op) -> bool:
        return op.type == "arg_min" and program.dtype(op.input("X") or "") == "float32"

    def change(self, program: Program, op: Op) -> None:
        x = op.input("X") or ""
        build = OpBuilder(program, f"{x}.negative")
        negative = build.affine(x, program.shape(x), -1.0)
        program.insert_before(op, *build.ops)
        op.type, op.inputs = "arg_max", {"X": [negative]}
