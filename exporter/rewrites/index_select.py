"""Rewrites index_select as gather: Paddle-Lite's index_select supports only int64 indices."""

from __future__ import annotations

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import LITE, EachOperator


class IndexSelectToGather(EachOperator):
    """Rewrites operators with int32 indices."""

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
