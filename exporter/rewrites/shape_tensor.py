"""A reshape to sizes that are computed in 64 bits: Paddle-Lite reads them as 32 bits, and aborts when it runs."""

from __future__ import annotations

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import LITE, EachOperator, OpBuilder


class ShapeTensorInt32(EachOperator):
    """Casts the tensor that holds all sizes; one tensor for each size is read right."""

    name = "shape_tensor_int32"
    version = "1"
    targets = LITE
    what = "reshape2"
    became = "given its sizes in 32 bits"

    def takes(self, program: Program, op: Op) -> bool:
        name = op.input("Shape") if op.type == "reshape2" and not op.inputs.get("ShapeTensor") else None
        return bool(name) and program.dtype(name or "") == "int64"

    def change(self, program: Program, op: Op) -> None:
        name = op.input("Shape") or ""
        build = OpBuilder(program, f"{name}.int32")
        op.inputs["Shape"] = [build.cast(name, program.shape(name), "int32")]
        program.insert_before(op, *build.ops)
