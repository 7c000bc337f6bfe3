"""Rewrites linspace with a computed count as a range, for paddle2onnx, which supports constant arguments only."""

from __future__ import annotations

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import ONNX, EachOperator, OpBuilder


class LinspaceToRange(EachOperator):
    """start + (stop - start) * position / (count - 1), of float32; a count of 1 gives the start."""

    name = "linspace_to_range"
    version = "1"
    targets = frozenset({ONNX})
    what = "linspace"
    became = "of a computed count written as range"

    def takes(self, program: Program, op: Op) -> bool:
        known = [op.input(slot) in program.params for slot in ("Start", "Stop", "Num")]
        return (
            op.type == "linspace"
            and known == [True, True, False]
            and program.dtype(op.output("Out") or "") == "float32"
        )

    def change(self, program: Program, op: Op) -> None:
        out, build = op.output("Out") or "", OpBuilder(program, f"{op.output('Out')}.part")
        start, stop = (float(program.params[op.input(slot) or ""].reshape(-1)[0]) for slot in ("Start", "Stop"))
        count, many = build.reshape(op.input("Num") or "", (1,)), (-1,)
        place = build.positions(count)
        gaps = build.affine(build.cast(count, (1,), "float32"), (1,), 1.0, -1.0)
        gaps = build.binary("elementwise_max", gaps, build.constant(1.0), (1,))
        share = build.binary("elementwise_div", build.cast(place, many, "float32"), gaps, many)
        attrs = {"scale": stop - start, "bias": start, "bias_after_scale": True}
        build.add("scale", {"X": share}, many, out=out, **attrs)
        program.replace(op, *build.ops)
