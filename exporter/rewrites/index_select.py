"""index_select as gather: Paddle-Lite takes indices of 64 bits only."""

from __future__ import annotations

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import LITE, EachOperator


class IndexSelectToGather(EachOperator):
    """Rewrites those by indices of 32 bits."""

    name = "index_select_to_gather"
    version = "1"
    targets = LITE
    what = "index_select"
    became = "written as gather"

    def takes(self, program: Program, op: Op) -> bool:
        return op.type == "index_select" and program.dtype(op.input("Index") or "") == "int32"

    def change(self, program: Program, op: Op) -> None:
        op.type = "gather"
        op.set_attr("axis", op.attr("dim", 0) % len(program.shape(op.input("X") or "")))
