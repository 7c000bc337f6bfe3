"""Paddle-Lite has no kernel for bmm; matmul_v2 computes the same."""

from __future__ import annotations

from segexport.exporter.program import Program
from segexport.exporter.rewrites.base import LITE, count, has


class BmmToMatmul:
    """Renames the operator and says that nothing is transposed."""

    name = "bmm_to_matmul"
    version = "1"
    targets = LITE

    def applies(self, program: Program) -> bool:
        return has(program, "bmm")

    def apply(self, program: Program) -> list[str]:
        changed = [op for op in program.all_ops() if op.type == "bmm"]
        for op in changed:
            op.type = "matmul_v2"
            op.set_attr("trans_x", False)
            op.set_attr("trans_y", False)
        return [f"{count(len(changed), 'bmm')} written as matmul_v2"]
