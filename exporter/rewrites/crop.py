"""Rewrites crop_tensor as a slice that starts at its offsets.

paddle2onnx does not support crop_tensor. Paddle-Lite reads a size of -1 as the whole axis, Paddle as the rest of the
axis after the offset.
"""

from __future__ import annotations

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import EVERY, EachOperator, OpBuilder

_COMPUTED = ("Shape", "ShapeTensor", "Offsets", "OffsetsTensor")
_END = 2**31 - 1


class CropToSlice(EachOperator):
    """Rewrites operators whose sizes and offsets are attributes."""

    name = "crop_to_slice"
    version = "1"
    targets = EVERY
    what = "crop_tensor"
    became = "written as slice"

    def takes(self, program: Program, op: Op) -> bool:
        if op.type != "crop_tensor" or any(op.inputs.get(slot) for slot in _COMPUTED):
            return False
        rank = len(program.shape(op.input("X") or ""))
        return len(op.attr("shape") or []) == len(op.attr("offsets") or []) == rank

    def change(self, program: Program, op: Op) -> None:
        out, sizes, starts = op.output("Out") or "", op.attr("shape"), op.attr("offsets")
        ends = [_END if size < 0 else start + size for start, size in zip(starts, sizes, strict=True)]
        build = OpBuilder(program, out)
        attrs = {"axes": list(range(len(sizes))), "starts": list(starts), "ends": ends, "infer_flags": [1] * len(sizes)}
        build.add("slice", {"Input": op.input("X") or ""}, program.shape(out), out=out, **attrs)
        build.ops[-1].set_attr("decrease_axis", [], "INTS")
        program.replace(op, *build.ops)
