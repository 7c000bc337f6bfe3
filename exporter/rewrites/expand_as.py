"""expand_as of a size that is known becomes an expand to it, which every exporter has."""

from __future__ import annotations

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import LITE, count


class ExpandAsToExpand:
    """Rewrites every expand_as_v2 whose result has known sizes."""

    name = "expand_as_to_expand"
    version = "1"
    targets = LITE

    def applies(self, program: Program) -> bool:
        return any(_is_known(program, op) for op in program.ops)

    def apply(self, program: Program) -> list[str]:
        changed = [op for op in program.ops if _is_known(program, op)]
        for op in changed:
            new = Op("expand_v2", {"X": op.inputs["X"]}, op.outputs)
            new.set_attr("shape", list(program.shape(op.output("Out") or "")), "INTS")
            program.replace(op, new)
        return [f"{count(len(changed), 'expand_as_v2')} written as expand_v2"]


def _is_known(program: Program, op: Op) -> bool:
    return op.type == "expand_as_v2" and -1 not in program.shape(op.output("Out") or "")
