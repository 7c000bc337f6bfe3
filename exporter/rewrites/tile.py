"""Gives tile one number for each axis, as paddle2onnx needs; Paddle takes fewer, for the last axes."""

from __future__ import annotations

import numpy as np

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import ONNX, EachOperator

_NUMBERS = "repeat_times_tensor"


class TileOfEveryAxis(EachOperator):
    """Puts ones before computed numbers; constant ones are attributes by now, which paddle2onnx completes itself."""

    name = "tile_of_every_axis"
    version = "1"
    targets = frozenset({ONNX})
    what = "tile"
    became = "given a number for each axis"

    def takes(self, program: Program, op: Op) -> bool:
        return op.type == "tile" and 0 < len(op.inputs.get(_NUMBERS) or []) < len(program.shape(op.input("X") or ""))

    def change(self, program: Program, op: Op) -> None:
        given = op.inputs[_NUMBERS]
        one = program.add_param(f"{op.output('Out')}.once", np.ones(1, np.int32))
        missing = len(program.shape(op.input("X") or "")) - len(given)
        op.inputs[_NUMBERS] = [one] * missing + given
        op.set_attr("repeat_times", [-1] * len(op.inputs[_NUMBERS]))
