"""Rewrites bitwise or and xor of masks as logical ones, which are the same: Paddle-Lite lacks them."""

from __future__ import annotations

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import LITE, EachOperator


class BitwiseOfMasks(EachOperator):
    """Renames the operators whose operands are boolean. Those that Paddle-Lite has also broadcast: they stay."""

    name = "bitwise_of_masks"
    version = "1"
    targets = LITE
    what = "bitwise"
    became = "on masks written as logical"

    def takes(self, program: Program, op: Op) -> bool:
        return op.type in ("bitwise_or", "bitwise_xor") and program.dtype(op.input("X") or "") == "bool"

    def change(self, program: Program, op: Op) -> None:
        op.type = op.type.replace("bitwise_", "logical_")
