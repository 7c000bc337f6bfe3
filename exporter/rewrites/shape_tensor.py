"""Casts computed reshape sizes to int32: Paddle-Lite reads int64 sizes as int32 and aborts at run time."""

from __future__ import annotations

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import LITE, EachOperator, OpBuilder


class ShapeTensorInt32(EachOperator):
    """Casts a tensor of all sizes; Paddle-Lite reads one tensor per size correctly."""

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
