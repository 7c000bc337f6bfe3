"""Renames amax and amin, which differ from max and min in their gradients only; no converter supports them."""

from __future__ import annotations

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import EVERY, EachOperator


class AmaxToMax(EachOperator):
    """Renames every reduce_amax and reduce_amin."""

    name = "amax_to_max"
    version = "2"
    targets = EVERY
    what = "reduce_amax or reduce_amin"
    became = "written as reduce_max or reduce_min"

    def takes(self, program: Program, op: Op) -> bool:
        return op.type in ("reduce_amax", "reduce_amin")

    def change(self, program: Program, op: Op) -> None:
        op.type = op.type.replace("_a", "_")
        if op.attr("dim"):
            op.set_attr("dim", [int(axis) for axis in op.attr("dim")], "INTS")  # of amax 64-bit numbers
        for name in ("in_dtype", "out_dtype"):  # paddle2onnx wants them, amax has none
            op.set_attr(name, op.attr(name, -1))
