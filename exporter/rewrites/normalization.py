"""Adds missing scales, shifts and training-only outputs to normalizations.

`weight_attr=False` omits scale and shift. paddle2onnx aborts without them; Paddle-Lite aborts when it compiles or,
worse, when it runs. Newer Paddle omits the statistics of an instance normalization, which Paddle-Lite requires.
"""

from __future__ import annotations

import numpy as np

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import EVERY, EachOperator, count

_STATISTICS = {"instance_norm": ("SavedMean", "SavedVariance"), "layer_norm": ("Mean", "Variance")}
_TYPES = ("batch_norm", "layer_norm", "instance_norm", "group_norm")


class NormalizationDefaults(EachOperator):
    """Adds a scale of ones, a shift of zeros, and the missing outputs."""

    name = "normalization_defaults"
    version = "1"
    targets = EVERY

    def takes(self, program: Program, op: Op) -> bool:
        if op.type not in _TYPES or _size(program, op) < 1:
            return False
        missing = [slot for slot in _STATISTICS.get(op.type, ()) if not op.output(slot)]
        return not op.input("Scale") or not op.input("Bias") or bool(missing)

    def change(self, program: Program, op: Op) -> None:
        size = _size(program, op)
        for slot, value in (("Scale", 1.0), ("Bias", 0.0)):
            if not op.input(slot):
                op.inputs[slot] = [program.add_param(f"{op.output('Y')}.{slot}", np.full(size, value, np.float32))]
        for slot in _STATISTICS.get(op.type, ()):
            if not op.output(slot):
                op.outputs[slot] = [program.add_var(f"{op.output('Y')}.{slot}", (-1,))]

    def notes(self, changed: list[Op]) -> list[str]:
        types = ", ".join(sorted({op.type for op in changed}))
        return [f"{count(len(changed), types)} given all inputs and outputs"]


def _size(program: Program, op: Op) -> int:
    """Number of elements of the scale; -1 if the size is dynamic."""
    dims = program.shape(op.input("X") or "")
    if op.type == "layer_norm":
        kept = dims[op.attr("begin_norm_axis", 1) :]
        return -1 if -1 in kept else int(np.prod(kept))
    if len(dims) < 2:
        return -1
    return dims[-1] if (op.attr("data_layout") or "NCHW") == "NHWC" else dims[1]
