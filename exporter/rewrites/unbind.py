"""unbind along an axis that is counted from the end: Paddle-Lite takes it for another."""

from __future__ import annotations

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import LITE, EachOperator


class UnbindFromTheFront(EachOperator):
    """Counts the axis from the front."""

    name = "unbind_from_the_front"
    version = "1"
    targets = LITE
    what = "unbind"
    became = "given an axis from the front"

    def takes(self, program: Program, op: Op) -> bool:
        return op.type == "unbind" and op.attr("axis", 0) < 0

    def change(self, program: Program, op: Op) -> None:
        op.set_attr("axis", op.attr("axis") + len(program.shape(op.input("X") or "")))
