"""Paddle-Lite's Opt aborts on a swish without its `beta`, which Paddle no longer writes."""

from __future__ import annotations

from segexport.exporter.program import Program
from segexport.exporter.rewrites.base import LITE, count


class SwishBeta:
    """Writes `beta` = 1.0 where it is missing."""

    name = "swish_beta"
    version = "1"
    targets = LITE

    def applies(self, program: Program) -> bool:
        return any(op.type == "swish" and "beta" not in op.attrs for op in program.all_ops())

    def apply(self, program: Program) -> list[str]:
        changed = [op for op in program.all_ops() if op.type == "swish" and "beta" not in op.attrs]
        for op in changed:
            op.set_attr("beta", 1.0)
        return [f"{count(len(changed), 'swish')} given the beta 1.0"]
