"""Rewrites operators that move the elements of a mask as moves of numbers: Paddle-Lite's Opt aborts on masks there."""

from __future__ import annotations

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import LITE, EachOperator, OpBuilder

_SOURCES = {"transpose2": "X", "flip": "X", "slice": "Input", "strided_slice": "Input"}


class MovesOfMasks(EachOperator):
    """Casts the mask to zeros and ones before the operator, and compares with one half behind it."""

    name = "moves_of_masks"
    version = "1"
    targets = LITE
    what = "that moves masks"
    became = "given numbers"

    def takes(self, program: Program, op: Op) -> bool:
        return op.type in _SOURCES and program.dtype(op.input(_SOURCES[op.type]) or "") == "bool"

    def change(self, program: Program, op: Op) -> None:
        slot, out = _SOURCES[op.type], op.output("Out") or ""
        source, dims = op.input(slot) or "", program.shape(out)
        before, after = OpBuilder(program, f"{source}.number"), OpBuilder(program, f"{out}.number")
        op.inputs[slot] = [before.cast(source, program.shape(source), "float32")]
        op.outputs["Out"] = [program.add_var(f"{out}.number", dims, "float32")]
        moved = {"X": op.outputs["Out"][0], "Y": after.constant(0.5)}
        after.add("greater_than", moved, dims, "bool", out=out, axis=-1)
        program.insert_before(op, *before.ops)
        program.insert_after(op, *after.ops)
