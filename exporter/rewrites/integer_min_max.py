"""Paddle-Lite's ARM kernels of elementwise_min and elementwise_max take no integers: they are compared as floats.

Exact below 2^24, which holds for what such operators bound: numbers of boxes, sizes, indices of classes.
"""

from __future__ import annotations

from segexport.exporter.framework_proto import DTYPE_CODE
from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import LITE_ARM, EachOperator


class IntegerMinMax(EachOperator):
    """Casts before and behind."""

    name = "integer_min_max"
    version = "1"
    targets = frozenset({LITE_ARM})
    what = "elementwise_min or elementwise_max of integers"
    became = "computed as float"

    def takes(self, program: Program, op: Op) -> bool:
        return op.type in ("elementwise_min", "elementwise_max") and program.dtype(op.input("X") or "") in (
            "int32",
            "int64",
        )

    def change(self, program: Program, op: Op) -> None:
        for slot in ("X", "Y"):
            name = op.input(slot) or ""
            number = program.add_var(f"{name}.float", program.shape(name), "float32")
            program.insert_before(op, _cast(program, name, number))
            op.inputs[slot] = [number]
        out = op.output("Out") or ""
        number = program.add_var(f"{out}.float", program.shape(out), "float32")
        op.outputs["Out"] = [number]
        program.insert_after(op, _cast(program, number, out))


def _cast(program: Program, source: str, out: str) -> Op:
    op = Op("cast", {"X": [source]}, {"Out": [out]})
    op.set_attr("in_dtype", DTYPE_CODE[program.dtype(source)], "INT")
    op.set_attr("out_dtype", DTYPE_CODE[program.dtype(out)], "INT")
    return op
