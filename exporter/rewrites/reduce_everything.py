"""Rewrites reductions without axes as reductions of everything: `x.sum()` says so in no other way.

paddle2onnx writes an empty list of axes, which ONNX's shape inference takes for none.
"""

from __future__ import annotations

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import EVERY, EachOperator

_TYPES = tuple(f"reduce_{kind}" for kind in ("sum", "mean", "max", "min", "prod", "any", "all"))


class ReductionOfEverything(EachOperator):
    """Sets `reduce_all`, as Paddle computes an empty list of axes."""

    name = "reduction_of_everything"
    version = "1"
    targets = EVERY
    what = "of reduction without axes"
    became = "said to reduce everything"

    def takes(self, program: Program, op: Op) -> bool:
        return op.type in _TYPES and not op.attr("dim") and not op.attr("reduce_all")

    def change(self, program: Program, op: Op) -> None:
        op.set_attr("reduce_all", True)
