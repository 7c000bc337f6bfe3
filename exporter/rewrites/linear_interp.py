"""Rewrites linear_interp_v2 as a bilinear resize of one row, which computes the same.

Paddle-Lite has no x86 kernel for it, and uses the ratio of the sizes where Paddle uses the given factor.
"""

from __future__ import annotations

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import LITE_ARM, EachOperator, Target

_TYPE = "linear_interp_v2"


class LinearInterpToBilinear(EachOperator):
    """[N, C, W] -> [N, C, 1, W] -> bilinear_interp_v2 -> [N, C, W']; requires known sizes."""

    name = "linear_interp_to_bilinear"
    version = "2"
    what = _TYPE
    became = "written as bilinear_interp_v2 of one row"

    def __init__(self, target: Target) -> None:
        self.targets = frozenset({target})
        self._has_kernel = target == LITE_ARM

    def takes(self, program: Program, op: Op) -> bool:
        if op.type != _TYPE or op.attr("data_layout", "NCHW") != "NCHW":
            return False
        source, out = program.shape(op.input("X") or ""), program.shape(op.output("Out") or "")
        is_known = len(source) == len(out) == 3 and source[2] > 0 and out[2] > 0
        return is_known and (not self._has_kernel or keeps_factor(program, op))

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
    factor = _factor(op)
    bilinear.set_attr("scale", [1.0, factor] if factor else [], "FLOATS")
    program.replace(
        op,
        _reshape(program, source, row, [0, 0, 1, width]),
        bilinear,
        _reshape(program, resized, out, [0, 0, new_width]),
    )


def keeps_factor(program: Program, op: Op) -> bool:
    """Whether Paddle's factor differs from the ratio of the sizes; True if sizes are dynamic, because it could."""
    factor, width = _factor(op), program.shape(op.input("X") or "")[2]
    return not op.attr("align_corners") and (factor != int(factor) if width < 0 else factor * width % 1 > 0)


def _factor(op: Op) -> float:
    """The width's scale factor; 0 if the width itself is given."""
    return next(iter(op.attr("scale") or []), 0.0)


def _reshape(program: Program, source: str, out: str, shape: list[int]) -> Op:
    shadow = program.add_var(f"{out}.xshape", (0, *program.shape(source)), program.dtype(source))
    op = Op("reshape2", {"X": [source]}, {"Out": [out], "XShape": [shadow]})
    op.set_attr("shape", shape, "INTS")
    return op
