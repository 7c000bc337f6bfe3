"""Rewrites accumulating scatter, for ONNX: zeroes the rows first, then adds to them.

paddle2onnx adds to zeros and treats each resulting 0 as an element without an update, so that an update of 0 keeps the
old value.
"""

from __future__ import annotations

import numpy as np

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import ONNX, EachOperator, OpBuilder


class ScatterOfSums(EachOperator):
    """Replaces scatter without `overwrite` by an overwriting scatter of zeros and a scatter_nd_add."""

    name = "scatter_of_sums"
    version = "1"
    targets = frozenset({ONNX})
    what = "scatter"
    became = "written as emptied rows and scatter_nd_add"

    def takes(self, program: Program, op: Op) -> bool:
        return op.type == "scatter" and not op.attr("overwrite", True)

    def change(self, program: Program, op: Op) -> None:
        source, ids, updates = (op.input(slot) or "" for slot in ("X", "Ids", "Updates"))
        if ids in program.params and len(np.unique(program.params[ids])) == program.params[ids].size:
            op.set_attr("overwrite", True)  # no index repeats, so nothing accumulates
            return
        out = op.output("Out")
        build = OpBuilder(program, f"{out}.scatter")
        dims, dtype, many = program.shape(source), program.dtype(source), program.shape(updates)
        zeros = build.add("fill_any_like", {"X": updates}, many, dtype, value=0.0)
        build.ops[-1].set_attr("dtype", -1)
        emptied = {"X": source, "Ids": ids, "Updates": zeros}
        rows = build.add("scatter", emptied, dims, dtype, overwrite=True)
        column = build.reshape(ids, (-1, 1))
        inputs = {"X": rows, "Index": column, "Updates": updates}
        build.add("scatter_nd_add", inputs, dims, dtype, out=out)
        program.replace(op, *build.ops)
