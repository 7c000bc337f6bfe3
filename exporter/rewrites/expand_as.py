"""Rewrites expand_as of known size as expand, which every converter supports."""

from __future__ import annotations

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import LITE, EachOperator


class ExpandAsToExpand(EachOperator):
    """Rewrites every expand_as_v2 with a result of known size."""

    name = "expand_as_to_expand"
    version = "1"
    targets = LITE
    what = "expand_as_v2"
    became = "written as expand_v2"

    def takes(self, program: Program, op: Op) -> bool:
        return op.type == "expand_as_v2" and -1 not in program.shape(op.output("Out") or "")

    def change(self, program: Program, op: Op) -> None:
        new = Op("expand_v2", {"X": op.inputs["X"]}, op.outputs)
        new.set_attr("shape", list(program.shape(op.output("Out") or "")), "INTS")
        program.replace(op, new)
