"""Paddle-Lite has no x86 kernel for linear_interp_v2; a bilinear resize of one row computes the same."""

from __future__ import annotations

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import LITE_X86, EachOperator

_TYPE = "linear_interp_v2"


class LinearInterpToBilinear(EachOperator):
    """[N, C, W] -> [N, C, 1, W] -> bilinear_interp_v2 -> [N, C, W']; needs sizes that are known."""

    name = "linear_interp_to_bilinear"
    version = "1"
    targets = frozenset({LITE_X86})
    what = _TYPE
    became = "written as bilinear_interp_v2 of one row"

    def takes(self, program: Program, op: Op) -> bool:
        if op.type != _TYPE or op.attr("data_layout", "NCHW") != "NCHW":
            return False
        source, out = program.shape(op.input("X") or ""), program.shape(op.output("Out") or "")
        return len(source) == len(out) == 3 and source[2] > 0 and out[2] > 0

    def change(self, program: Program, op: Op) -> None:
        _change(program, op)


def _change(program: Program, op: Op) -> None:
    source, out = op.input("X") or "", op.output("Out") or ""
    dtype, (batch, channels, width) = program.dtype(source), program.shape(source)
    new_width = program.shape(out)[2]
    row = program.add_var(f"{out}.row", (batch, channels, 1, width), dtype)
    resized = program.add_var(f"{out}.resized", (batch, channels, 1, new_width), dtype)
    bilinear = Op("bilinear_interp_v2", {"X": [row]}, {"Out": [resized]}, dict(op.attrs))
    bilinear.set_attr("interp_method", "bilinear")
    bilinear.set_attr("out_h", 1)
    bilinear.set_attr("out_w", new_width)
    bilinear.set_attr("scale", [], "FLOATS")
    program.replace(
        op,
        _reshape(program, source, row, [0, 0, 1, width]),
        bilinear,
        _reshape(program, resized, out, [0, 0, new_width]),
    )


def _reshape(program: Program, source: str, out: str, shape: list[int]) -> Op:
    shadow = program.add_var(f"{out}.xshape", (0, *program.shape(source)), program.dtype(source))
    op = Op("reshape2", {"X": [source]}, {"Out": [out], "XShape": [shadow]})
    op.set_attr("shape", shape, "INTS")
    return op
