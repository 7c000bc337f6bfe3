"""Makes the cast of a reduction explicit: Paddle casts, then reduces; converters drop the type or cast the result."""

from __future__ import annotations

from segexport.exporter.framework_proto import DTYPE_NAME
from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import EVERY, EachOperator, OpBuilder

_TYPES = ("reduce_sum", "reduce_prod", "reduce_max", "reduce_min", "reduce_mean")


class CastBeforeReduction(EachOperator):
    """Inserts a separate cast before the reduction."""

    name = "cast_before_reduction"
    version = "1"
    targets = EVERY
    what = "of reduction"
    became = "given a cast before"

    def takes(self, program: Program, op: Op) -> bool:
        if op.type not in _TYPES or not program.dtype(op.input("X") or "").startswith("float"):
            return False
        return DTYPE_NAME.get(op.attr("out_dtype", -1), "").startswith("int")

    def change(self, program: Program, op: Op) -> None:
        source = op.input("X") or ""
        build = OpBuilder(program, f"{op.output('Out')}.whole")
        dtype = DTYPE_NAME[op.attr("out_dtype")]
        op.inputs["X"] = [build.cast(source, program.shape(source), dtype)]
        op.set_attr("in_dtype", -1)
        op.set_attr("out_dtype", -1)
        program.replace(op, *build.ops, op)
