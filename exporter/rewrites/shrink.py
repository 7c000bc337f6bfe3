"""Cuts an image of dynamic size to what a resize by 1/2, 1/4, ... reads, for Paddle-Lite.

Of 7 rows, a resize by 1/2 makes 3 that are 2 rows apart; Paddle-Lite places them 7/3 apart, at the ratio of the sizes.
Paddle never reads the seventh row. Without it, both distances are 2.
"""

from __future__ import annotations

from math import log2
from typing import Any

import numpy as np

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import LITE, EachOperator, OpBuilder
from segexport.exporter.rewrites.bicubic import sides
from segexport.exporter.rewrites.resize import is_placed_otherwise_in_lite


class ShrinkOfWholeSteps(EachOperator):
    """Rewrites bilinear resizes by powers of 1/2, which are exact in float32, to a size that is computed."""

    name = "shrink_of_whole_steps"
    version = "1"
    targets = LITE
    what = "bilinear_interp_v2"
    became = "of the part of the image that they read"

    def takes(self, program: Program, op: Op) -> bool:
        if not is_placed_otherwise_in_lite(program, op) or op.attr("data_layout", "NCHW") != "NCHW":
            return False
        found = sides(program, op)
        shrinks = all(0 < scale <= 1 and log2(scale).is_integer() for _, _, scale in found)
        return shrinks and any(before < 0 for before, _, _ in found)

    def change(self, program: Program, op: Op) -> None:
        source, out = op.input("X") or "", op.output("Out") or ""
        dims, dtype = program.shape(source), program.dtype(source)
        build = OpBuilder(program, f"{out}.part")
        sizes = build.add("shape", {"Input": source}, (4,), "int32", slot="Out")
        made, read = [], []
        for axis, (_, _, scale) in enumerate(sides(program, op), start=2):
            cut: dict[str, Any] = {"axes": [0], "starts": [axis], "ends": [axis + 1], "infer_flags": [1]}
            size = build.add("slice", {"Input": sizes}, (1,), "int32", **cut)
            build.ops[-1].set_attr("decrease_axis", [], "INTS")
            steps = build.param(np.array([1 / scale], np.int32))
            made.append(build.binary("elementwise_floordiv", size, steps, (1,), "int32"))
            read.append(build.binary("elementwise_mul", made[-1], steps, (1,), "int32"))
        cut = {"axes": [2, 3], "starts": [0, 0], "ends": [-1, -1], "infer_flags": [-1, -1]}
        part = build.add("slice", {"Input": source, "EndsTensorList": read}, (*dims[:2], -1, -1), dtype, **cut)
        build.ops[-1].set_attr("decrease_axis", [], "INTS")
        resized = Op(op.type, {"X": [part], "SizeTensor": made}, op.outputs, dict(op.attrs))
        resized.set_attr("scale", [], "FLOATS")
        program.replace(op, *build.ops, resized)
