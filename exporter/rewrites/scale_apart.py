"""Rewrites `scale` operators that Paddle-Lite's Opt would fold into a convolution wrongly.

Opt fuses a convolution, its activation and a following `scale` by scaling filter and bias, which ignores the
activation: relu6 then clamps at 6, not at 6 times the scale, and a negative scale or a shift is applied before the
activation. Once it has folded one, the next one follows the activation. Opt does not move products and sums with
parameters. It also applies a shift before the scaling as a shift after it.
"""

from __future__ import annotations

import numpy as np

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import LITE, EachOperator, OpBuilder

_HOMOGENEOUS = frozenset({"relu", "leaky_relu"})  # scaling by a positive number before or after gives the same result
_ACTIVATIONS = _HOMOGENEOUS | {
    "relu6", "prelu", "hard_swish", "hard_sigmoid", "swish", "silu", "sigmoid", "tanh", "gelu", "elu", "mish", "clip",
    "abs", "exp", "softplus", "thresholded_relu",
}  # fmt: skip


class ScaleApart(EachOperator):
    """Writes a scale after an activation as product and sum, and moves shifts after the scaling."""

    name = "scale_apart"
    version = "2"
    targets = LITE
    what = "scale"
    became = "kept out of the convolution before"

    def takes(self, program: Program, op: Op) -> bool:
        if op.type != "scale" or op.input("ScaleTensor") or program.dtype(op.input("X") or "") != "float32":
            return False
        return _is_folded_wrongly(program, op) or (not op.attr("bias_after_scale", True) and op.attr("bias", 0.0) != 0)

    def change(self, program: Program, op: Op) -> None:
        if _is_folded_wrongly(program, op):
            program.replace(op, *_product_and_sum(program, op))
        else:
            op.set_attr("bias", _shift(op))
            op.set_attr("bias_after_scale", True)


def _is_folded_wrongly(program: Program, op: Op) -> bool:
    producers = program.producers()
    before = producers.get(op.input("X") or "")
    while before is not None and before.type == "scale":
        before = producers.get(before.input("X") or "")
    if before is None or before.type not in _ACTIVATIONS:
        return False
    scale, bias = op.attr("scale", 1.0), op.attr("bias", 0.0)
    return bias != 0 or scale < 0 or (scale != 1 and before.type not in _HOMOGENEOUS)


def _shift(op: Op) -> float:
    """The shift to add after scaling."""
    bias = op.attr("bias", 0.0)
    return bias if op.attr("bias_after_scale", True) else bias * op.attr("scale", 1.0)


def _product_and_sum(program: Program, op: Op) -> list[Op]:
    x, out, scale, shift = op.input("X") or "", op.output("Out") or "", op.attr("scale", 1.0), _shift(op)
    build, dims = OpBuilder(program, f"{out}.scaled"), program.shape(x)
    if scale != 1:
        factor = build.param(np.array([scale], np.float32))
        x = build.add("elementwise_mul", {"X": x, "Y": factor}, dims, out=None if shift else out, axis=-1)
    if shift:
        build.add("elementwise_add", {"X": x, "Y": build.constant(shift)}, dims, out=out, axis=-1)
    return build.ops
