"""roll by more than an axis, or of the tensor as one line.

paddle2onnx cuts at the shift, which may be beyond the axis; Paddle-Lite rolls along axes only.
"""

from __future__ import annotations

from math import prod

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import EVERY, EachOperator, OpBuilder


class RollWithinAxis(EachOperator):
    """Writes shifts modulo the size, where it is known, and a roll of all elements as one of a single axis."""

    name = "roll_within_axis"
    version = "1"
    targets = EVERY
    what = "roll"
    became = "written with shifts within an axis"

    def takes(self, program: Program, op: Op) -> bool:
        if op.type != "roll" or op.inputs.get("ShiftsTensor"):
            return False
        dims, axes = program.shape(op.input("X") or ""), op.attr("axis")
        if not axes:
            return -1 not in dims
        shifts = zip(op.attr("shifts"), axes, strict=True)
        return any(-1 < dims[axis] <= abs(shift) for shift, axis in shifts)

    def change(self, program: Program, op: Op) -> None:
        source = op.input("X") or ""
        dims, axes, shifts = program.shape(source), op.attr("axis"), op.attr("shifts")
        if axes:
            sizes = [dims[axis] for axis in axes]
            within = [shift % size if size > 0 else shift for shift, size in zip(shifts, sizes, strict=True)]
            op.set_attr("shifts", within, "LONGS")
            return
        out, many = op.output("Out") or "", prod(dims)
        build = OpBuilder(program, f"{out}.line")
        line = build.reshape(source, (many,))
        rolled = build.add("roll", {"X": line}, (many,), program.dtype(source))
        build.ops[-1].set_attr("axis", [0], "LONGS")
        build.ops[-1].set_attr("shifts", [shifts[0] % many], "LONGS")
        build.reshape(rolled, dims, out=out)
        program.replace(op, *build.ops)
