"""Computes boolean constants from numbers: Paddle-Lite's Opt aborts on boolean parameters."""

from __future__ import annotations

import numpy as np

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import LITE, EachOperator


class BooleanConstants(EachOperator):
    """Writes what an operator reads of boolean parameters as a comparison of 1 and 0 with a half."""

    name = "boolean_constants"
    version = "1"
    targets = LITE
    what = "with a boolean constant"
    became = "given a comparison of numbers"

    def takes(self, program: Program, op: Op) -> bool:
        return any(_is_boolean(program, name) for name in op.input_names())

    def change(self, program: Program, op: Op) -> None:
        half = program.add_param("half", np.array([0.5], np.float32))
        for names in op.inputs.values():
            for index, name in enumerate(names):
                if not _is_boolean(program, name):
                    continue
                number = program.add_param(f"{name}.number", program.params[name].astype(np.float32))
                names[index] = program.add_var(f"{name}.compared", program.shape(name), "bool")
                compare = Op("greater_than", {"X": [number], "Y": [half]}, {"Out": [names[index]]})
                compare.set_attr("axis", -1)
                program.insert_before(op, compare)


def _is_boolean(program: Program, name: str) -> bool:
    return name in program.params and program.params[name].dtype == np.bool_
