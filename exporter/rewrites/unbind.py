"""Rewrites unbind as unstack: paddle2onnx lacks it; Paddle-Lite counts axes differently and writes out of bounds."""

from __future__ import annotations

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import EVERY, EachOperator


class UnbindToUnstack(EachOperator):
    """Replaces the operator by its older equivalent."""

    name = "unbind_to_unstack"
    version = "1"
    targets = EVERY
    what = "unbind"
    became = "written as unstack"

    def takes(self, program: Program, op: Op) -> bool:
        return op.type == "unbind"

    def change(self, program: Program, op: Op) -> None:
        axis = op.attr("axis", 0)
        op.type = "unstack"
        op.outputs = {"Y": op.outputs["Out"]}
        op.set_attr("axis", axis if axis >= 0 else axis + len(program.shape(op.input("X") or "")))
        op.set_attr("num", len(op.outputs["Y"]))
