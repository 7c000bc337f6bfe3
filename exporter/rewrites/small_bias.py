"""Rewrites scale operators with a bias below 1e-6 as a product and a sum, for ONNX.

paddle2onnx treats such a bias as 0 and drops it. The bias prevents a division by 0: without it, all-zero features give
NaN.
"""

from __future__ import annotations

import numpy as np

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import ONNX, EachOperator, OpBuilder

_DROPPED = 1.1e-6  # float32 1e-6 is slightly below 1e-6, and paddle2onnx compares with 1e-6


class SmallBiasToSum(EachOperator):
    """Rewrites float scale operators."""

    name = "small_bias_to_sum"
    version = "1"
    targets = frozenset({ONNX})
    what = "scale"
    became = "with a bias below 1e-6 written as a sum"

    def takes(self, program: Program, op: Op) -> bool:
        if op.type != "scale" or not program.dtype(op.input("X") or "").startswith("float"):
            return False
        return 0 < abs(op.attr("bias", 0.0)) < _DROPPED and not op.inputs.get("ScaleTensor")

    def change(self, program: Program, op: Op) -> None:
        x, out = op.inputs["X"][0], op.outputs["Out"][0]
        factor, bias = op.attr("scale", 1.0), op.attr("bias")
        dims, dtype = program.shape(out), program.dtype(x)
        if not op.attr("bias_after_scale", True):
            bias *= factor
        build = OpBuilder(program, f"{out}.scaled")
        if factor != 1:
            x = build.add("scale", {"X": x}, dims, dtype, scale=factor, bias=0.0, bias_after_scale=True)
        constant = build.param(np.full([1], bias, dtype))
        build.add("elementwise_add", {"X": x, "Y": constant}, dims, dtype, out=out, axis=-1)
        program.replace(op, *build.ops)
