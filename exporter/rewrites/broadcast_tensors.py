"""Rewrites broadcast_tensors, which no converter supports, as copies or expansions."""

from __future__ import annotations

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import EVERY, EachOperator

_TYPE = "broadcast_tensors"


class BroadcastTensors(EachOperator):
    """Writes one assign (equal sizes) or expand_v2 per input."""

    name = "broadcast_tensors"
    version = "1"
    targets = EVERY
    what = _TYPE
    became = "written as assign or expand_v2"

    def takes(self, program: Program, op: Op) -> bool:
        if op.type != _TYPE:
            return False
        pairs = [
            (program.shape(x), program.shape(out)) for x, out in zip(op.inputs["X"], op.outputs["Out"], strict=True)
        ]
        return all(source == out or -1 not in out for source, out in pairs)

    def change(self, program: Program, op: Op) -> None:
        program.replace(op, *(_copy(program, x, out) for x, out in zip(op.inputs["X"], op.outputs["Out"], strict=True)))


def _copy(program: Program, source: str, out: str) -> Op:
    if program.shape(source) == program.shape(out):
        return Op("assign", {"X": [source]}, {"Out": [out]})
    op = Op("expand_v2", {"X": [source]}, {"Out": [out]})
    op.set_attr("shape", list(program.shape(out)), "INTS")
    return op
