"""Adds `force_cpu` to comparisons: Paddle no longer writes it, and Paddle-Lite's Opt aborts without it."""

from __future__ import annotations

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import LITE, EachOperator

_TYPES = ("equal", "not_equal", "less_than", "less_equal", "greater_than", "greater_equal")


class ComparisonAttributes(EachOperator):
    """Writes `force_cpu` = false if it is missing."""

    name = "comparison_attributes"
    version = "1"
    targets = LITE
    what = "of comparison"
    became = "given the attribute force_cpu"
    everywhere = True

    def takes(self, program: Program, op: Op) -> bool:
        return op.type in _TYPES and "force_cpu" not in op.attrs

    def change(self, program: Program, op: Op) -> None:
        op.set_attr("force_cpu", False)
