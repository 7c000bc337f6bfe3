"""Rewrites bitwise operators on masks as logical ones, which are the same and which Paddle-Lite has all of."""

from __future__ import annotations

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import LITE, EachOperator


class BitwiseOfMasks(EachOperator):
    """Renames the operators whose operands are boolean."""

    name = "bitwise_of_masks"
    version = "1"
    targets = LITE
    what = "bitwise"
    became = "on masks written as logical"

    def takes(self, program: Program, op: Op) -> bool:
        return op.type.startswith("bitwise_") and program.dtype(op.input("X") or "") == "bool"

    def change(self, program: Program, op: Op) -> None:
        op.type = op.type.replace("bitwise_", "logical_")
