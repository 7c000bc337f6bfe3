"""Flattens gather indices of shape [N, 1]: Paddle reads them as [N], ONNX adds an axis of size 1 to the result.

paddle2onnx writes the ONNX operator unchanged, so the result silently has another rank.
"""

from __future__ import annotations

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import ONNX, EachOperator, reshape


class GatherByList(EachOperator):
    """Flattens the indices first."""

    name = "gather_by_list"
    version = "1"
    targets = frozenset({ONNX})
    what = "gather"
    became = "given a list of indices in place of a column"

    def takes(self, program: Program, op: Op) -> bool:
        dims = program.shape(op.input("Index") or "") if op.type == "gather" else ()
        return len(dims) == 2 and dims[1] == 1

    def change(self, program: Program, op: Op) -> None:
        indices, flatten = reshape(program, op.input("Index") or "", (-1,))
        program.insert_before(op, flatten)
        op.inputs["Index"] = [indices]
