"""Paddle-Lite's Opt aborts on a comparison without `force_cpu`, which Paddle no longer writes."""

from __future__ import annotations

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import LITE, count

_TYPES = ("equal", "not_equal", "less_than", "less_equal", "greater_than", "greater_equal")


class ComparisonAttributes:
    """Writes `force_cpu` = false where it is missing."""

    name = "comparison_attributes"
    version = "1"
    targets = LITE

    def applies(self, program: Program) -> bool:
        return any(_lacks(op) for op in program.all_ops())

    def apply(self, program: Program) -> list[str]:
        changed = [op for op in program.all_ops() if _lacks(op)]
        for op in changed:
            op.set_attr("force_cpu", False)
        return [f"{count(len(changed), 'of comparison')} given the attribute force_cpu"]


def _lacks(op: Op) -> bool:
    return op.type in _TYPES and "force_cpu" not in op.attrs
