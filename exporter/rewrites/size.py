"""Rewrites the number of elements as a product of sizes: Paddle-Lite lacks the operator."""

from __future__ import annotations

from math import prod

import numpy as np

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import LITE, EachOperator, OpBuilder


class SizeToProduct(EachOperator):
    """Multiplies the free sizes and the product of the known ones."""

    name = "size_to_product"
    version = "1"
    targets = LITE
    what = "size"
    became = "written as a product of sizes"

    def takes(self, program: Program, op: Op) -> bool:
        return op.type == "size" and len(program.shape(op.input("Input") or "")) > 0

    def change(self, program: Program, op: Op) -> None:
        x, out = op.input("Input") or "", op.output("Out") or ""
        dims, build = program.shape(x), OpBuilder(program, f"{out}.sizes")
        sizes = build.add("shape", {"Input": x}, (len(dims),), "int32")
        found = build.param(np.array([prod(size for size in dims if size >= 0)], np.int32))
        for axis in (axis for axis, size in enumerate(dims) if size < 0):
            one = build.add("slice", {"Input": sizes}, (1,), "int32", axes=[0], starts=[axis], ends=[axis + 1])
            found = build.binary("elementwise_mul", one, found, (1,), "int32")
        program.vars[out].dims = (1,)  # Paddle-Lite has no tensors without axes
        build.cast(found, (1,), program.dtype(out), out=out)
        program.replace(op, *build.ops)
