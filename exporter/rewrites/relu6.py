"""Paddle-Lite's Opt aborts on a relu6 without its `threshold`, which Paddle no longer writes."""

from __future__ import annotations

from segexport.exporter.program import Attr, Program
from segexport.exporter.rewrites.base import LITE, count


class Relu6Threshold:
    """Writes `threshold` = 6.0 where it is missing."""

    name = "relu6_threshold"
    version = "1"
    targets = LITE

    def applies(self, program: Program) -> bool:
        return any(op.type == "relu6" and "threshold" not in op.attrs for op in program.all_ops())

    def apply(self, program: Program) -> list[str]:
        changed = [op for op in program.all_ops() if op.type == "relu6" and "threshold" not in op.attrs]
        for op in changed:
            op.attrs["threshold"] = Attr("FLOAT", 6.0)
        return [f"{count(len(changed), 'relu6')} given the threshold 6.0"]
