"""Rewrites the diagonal matrix of a vector as a choice between vector and padding: no converter supports diag_v2."""

from __future__ import annotations

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import EVERY, EachOperator, OpBuilder


class DiagonalToWhere(EachOperator):
    """The vector where row and column have the same number, the padding elsewhere: a product would make inf * 0 NaN."""

    name = "diagonal_to_where"
    version = "1"
    targets = EVERY
    what = "diag_v2"
    became = "written as where"

    def takes(self, program: Program, op: Op) -> bool:
        source = op.input("X") or ""
        is_vector = op.type == "diag_v2" and len(program.shape(source)) == 1 and not op.attr("offset", 0)
        return is_vector and program.dtype(source) == "float32"

    def change(self, program: Program, op: Op) -> None:
        source, out = op.input("X") or "", op.output("Out") or ""
        (many,), build = program.shape(source), OpBuilder(program, f"{out}.part")
        size = build.add("shape", {"Input": source}, (1,), "int32")
        index = build.positions(size, many)
        row, column = (build.reshape(index, dims) for dims in ((1, many), (many, 1)))
        square = {"Shape": build.add("concat", {"X": [size, size]}, (2,), "int32", axis=0)}
        rows, columns, values = (
            build.add("expand_v2", {"X": each, **square}, (many, many), dtype, shape=[-1, -1])
            for each, dtype in ((row, "int32"), (column, "int32"), (build.reshape(source, (1, many)), "float32"))
        )
        chosen = build.binary("equal", rows, columns, (many, many), "bool")
        padding = build.affine(
            build.cast(rows, (many, many), "float32"), (many, many), 0.0, op.attr("padding_value", 0)
        )
        build.add("where", {"Condition": chosen, "X": values, "Y": padding}, (many, many), out=out)
        program.replace(op, *build.ops)
