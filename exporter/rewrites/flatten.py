"""Paddle-Lite's Opt segfaults on a flatten without its `XShape` output."""

from __future__ import annotations

from segexport.exporter.program import Program
from segexport.exporter.rewrites.base import LITE, count

_TYPE = "flatten_contiguous_range"


class FlattenXShape:
    """Adds the output; its sizes are 0 and then the input's, as Paddle itself once wrote them."""

    name = "flatten_xshape"
    version = "1"
    targets = LITE

    def applies(self, program: Program) -> bool:
        return any(op.type == _TYPE and op.output("XShape") is None for op in program.ops)

    def apply(self, program: Program) -> list[str]:
        changed = [op for op in program.ops if op.type == _TYPE and op.output("XShape") is None]
        for op in changed:
            source = op.input("X") or ""
            shadow = program.add_var(f"{op.output('Out')}.xshape", (0, *program.shape(source)), program.dtype(source))
            op.outputs["XShape"] = [shadow]
        return [f"{count(len(changed), _TYPE)} given the output XShape"]
