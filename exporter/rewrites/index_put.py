"""Rewrites x[mask] = number as where: no converter supports index_put."""

from __future__ import annotations

from math import prod

from segexport.exporter.framework_proto import DTYPE_CODE
from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import EVERY, EachOperator, OpBuilder


class IndexPutToWhere(EachOperator):
    """Rewrites operators that write one number where a mask of the tensor's shape is true."""

    name = "index_put_to_where"
    version = "1"
    targets = EVERY
    what = "index_put"
    became = "written as where"

    def takes(self, program: Program, op: Op) -> bool:
        if op.type != "index_put" or op.attr("accumulate") or len(op.inputs.get("indices", [])) != 1:
            return False
        mask, x, value = op.input("indices") or "", op.input("x") or "", op.input("value") or ""
        return (
            program.dtype(mask) == "bool"
            and program.shape(mask) == program.shape(x)
            and prod(program.shape(value)) == 1
            and program.dtype(value) == program.dtype(x)
        )

    def change(self, program: Program, op: Op) -> None:
        x, out = op.input("x") or "", op.output("out") or ""
        dims, kind, build = program.shape(x), program.dtype(x), OpBuilder(program, f"{out}.put")
        zeros = build.add("fill_any_like", {"X": x}, dims, kind, value=0.0)
        build.ops[-1].set_attr("dtype", DTYPE_CODE[kind])
        value = build.reshape(op.input("value") or "", (1,))
        filled = build.binary("elementwise_add", zeros, value, dims, kind)
        inputs = {"Condition": op.input("indices") or "", "X": filled, "Y": x}
        build.add("where", inputs, dims, kind, out=out)
        program.replace(op, *build.ops)
