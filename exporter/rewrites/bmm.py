"""Rewrites bmm as matmul_v2, which computes the same; Paddle-Lite has no kernel for bmm."""

from __future__ import annotations

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import LITE, EachOperator


class BmmToMatmul(EachOperator):
    """Renames the operator and sets both transpositions to false."""

    name = "bmm_to_matmul"
    version = "1"
    targets = LITE
    what = "bmm"
    became = "written as matmul_v2"
    everywhere = True

    def takes(self, program: Program, op: Op) -> bool:
        return op.type == "bmm"

    def change(self, program: Program, op: Op) -> None:
        op.type = "matmul_v2"
        op.set_attr("trans_x", False)
        op.set_attr("trans_y", False)
