"""Adds `threshold` to relu6: Paddle no longer writes it, and Paddle-Lite's Opt aborts without it."""

from __future__ import annotations

from segexport.exporter.program import Attr, Op, Program
from segexport.exporter.rewrites.base import LITE, EachOperator


class Relu6Threshold(EachOperator):
    """Writes `threshold` = 6.0 if it is missing."""

    name = "relu6_threshold"
    version = "1"
    targets = LITE
    what = "relu6"
    became = "given the threshold 6.0"
    everywhere = True

    def takes(self, program: Program, op: Op) -> bool:
        return op.type == "relu6" and "threshold" not in op.attrs

    def change(self, program: Program, op: Op) -> None:
        op.attrs["threshold"] = Attr("FLOAT", 6.0)
