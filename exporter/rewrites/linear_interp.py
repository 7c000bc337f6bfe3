"""Rewrites linear_interp_v2 as a bilinear resize of one row, which computes the same.

Paddle-Lite has no x86 kernel for it, and uses the ratio of the sizes where Paddle uses the given factor. On ARM it is
rewritten too, so that the twin computes what the phone does.
"""

from __future__ import annotations

import numpy as np

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import LITE, EachOperator

_TYPE = "linear_interp_v2"


class LinearInterpToBilinear(EachOperator):
    """[N, C, W] -> [N, C, 1, W] -> bilinear_interp_v2 -> [N, C, 1, W'] -> [N, C, W']; any size may be dynamic."""

    name = "linear_interp_to_bilinear"
    version = "3"
    targets = LITE
    what = _TYPE
    became = "written as bilinear_interp_v2 of one row"

    def takes(self, program: Program, op: Op) -> bool:
        if op.type != _TYPE or op.attr("data_layout", "NCHW") != "NCHW" or op.input("Scale"):
            return False
        source, out = program.shape(op.input("X") or ""), program.shape(op.output("Out") or "")
        return len(source) == len(out) == 3 and (out[2] > 0 or not keeps_factor(program, op))

    def change(self, program: Program, op: Op) -> None:
        _change(program, op)


def _change(program: Program, op: Op) -> None:
    source, out = op.input("X") or "", op.output("Out") or ""
    dtype, (batch, channels, width) = program.dtype(source), program.shape(source)
    new_width = program.shape(out)[2]
    row = program.add_var(f"{out}.row", (batch, channels, 1, width), dtype)
    resized = program.add_var(f"{out}.resized", (batch, channels, 1, new_width), dtype)
    bilinear = Op("bilinear_interp_v2", {"X": [row]}, {"Out": [resized]}, dict(op.attrs))
    sized, factor = op.inputs.get("SizeTensor") or op.inputs.get("OutSize"), _factor(op)
    if sized:
        bilinear.inputs["SizeTensor"] = [program.add_param(f"{out}.one", np.array([1], np.int32)), *sized]
        factor = 0.0  # the size counts
    bilinear.set_attr("interp_method", "bilinear")
    bilinear.set_attr("out_h", 1)
    bilinear.set_attr("out_w", new_width)
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
