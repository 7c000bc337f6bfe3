"""Rewrites repeat_interleave as copies side by side: Paddle-Lite lacks the operator."""

from __future__ import annotations

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import LITE, EachOperator, OpBuilder


class RepeatToConcat(EachOperator):
    """Concatenates the copies along a new axis behind the repeated one, and flattens both to one."""

    name = "repeat_to_concat"
    version = "1"
    targets = LITE
    what = "repeat_interleave"
    became = "written as concat"

    def takes(self, program: Program, op: Op) -> bool:
        return op.type == "repeat_interleave" and not op.inputs.get("RepeatsTensor") and op.attr("Repeats", 0) > 0

    def change(self, program: Program, op: Op) -> None:
        x, out, times = op.input("X") or "", op.output("Out") or "", op.attr("Repeats")
        dims, dtype, build = program.shape(x), program.dtype(x), OpBuilder(program, f"{out}.part")
        axis = op.attr("dim", 0) % len(dims)
        apart = (*dims[: axis + 1], 1, *dims[axis + 1 :])
        shadow = program.add_var(f"{out}.xshape", (0, *dims), dtype)
        one = build.add("unsqueeze2", {"X": x}, apart, dtype, also={"XShape": shadow}, axes=[axis + 1])
        wide = (*dims[: axis + 1], times, *dims[axis + 1 :])
        copies = build.add("concat", {"X": [one] * times}, wide, dtype, axis=axis + 1)
        shadow = program.add_var(f"{out}.xshape", (0, *wide), dtype)
        ends = {"start_axis": axis, "stop_axis": axis + 1}
        also = {"XShape": shadow}
        flat = {"X": copies}
        build.add("flatten_contiguous_range", flat, program.shape(out), dtype, out=out, also=also, **ends)
        program.replace(op, *build.ops)
