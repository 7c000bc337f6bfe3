"""Adds `beta` to swish: Paddle no longer writes it, and Paddle-Lite's Opt aborts without it."""

from __future__ import annotations

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import LITE, EachOperator


class SwishBeta(EachOperator):
    """Writes `beta` = 1.0 if it is missing."""

    name = "swish_beta"
    version = "1"
    targets = LITE
    what = "swish"
    became = "given the beta 1.0"
    everywhere = True

    def takes(self, program: Program, op: Op) -> bool:
        return op.type == "swish" and "beta" not in op.attrs

    def change(self, program: Program, op: Op) -> None:
        op.set_attr("beta", 1.0)
