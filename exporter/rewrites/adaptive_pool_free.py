"""Adaptive average pooling of a size that is known only at run time: the averaging matrices become part of the graph.

Bin i of k over s pixels averages those from floor(i*s/k) to ceil((i+1)*s/k), so its row of the matrix is
(start <= position < end) / (end - start). All of it is small arithmetic on the shape of the input.
"""

from __future__ import annotations

import numpy as np

from segexport.exporter.framework_proto import DTYPE_NAME
from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import matmul

_CODE = {name: code for code, name in DTYPE_NAME.items()}


def pool_of_free_size(program: Program, op: Op) -> list[Op]:
    """The operators that take the place of an adaptive average pool (NCHW) of free height or width."""
    build = _Builder(program, op.output("Out") or "out")
    source, out = op.input("X") or "", op.output("Out") or ""
    dims, bins = program.shape(source), op.attr("ksize")
    sizes = build.shape_of(source)
    rows = build.averages(build.side(sizes, 2), bins[0])
    columns = build.averages(build.side(sizes, 3), bins[1])
    turned = build.add("transpose2", {"X": columns}, (-1, -1), axis=[1, 0])
    narrow, over_columns = matmul(program, source, turned, (*dims[:3], -1))
    build.ops.append(over_columns)
    _, over_rows = matmul(program, rows, narrow, program.shape(out), out=out)
    return [*build.ops, over_rows]


class _Builder:
    """Appends small operators; each method returns the name of a result."""

    def __init__(self, program: Program, name: str) -> None:
        self.program, self.name = program, name
        self.ops: list[Op] = []

    def add(
        self, kind: str, inputs: dict[str, str], dims: tuple[int, ...], dtype: str = "float32", **attrs: object
    ) -> str:
        out = self.program.add_var(f"{self.name}.{kind}", dims, dtype)
        op = Op(kind, {slot: [name] for slot, name in inputs.items()}, {"Out": [out]})
        if kind in ("reshape2", "transpose2"):
            op.outputs["XShape"] = [self.program.add_var(f"{out}.xshape", (0, *self.program.shape(inputs["X"])), dtype)]
        for name, value in attrs.items():
            op.set_attr(name, value)
        self.ops.append(op)
        return out

    def constant(self, value: np.ndarray) -> str:
        return self.program.add_param(f"{self.name}.constant", value)

    def shape_of(self, source: str) -> str:
        return self.add("shape", {"Input": source}, (4,), "int32")

    def side(self, sizes: str, axis: int) -> str:
        """One side of the image, float32 [1]."""
        picked = self.add("slice", {"Input": sizes}, (1,), "int32", axes=[0], starts=[axis], ends=[axis + 1])
        return self._to_float(picked, "int32")

    def averages(self, size: str, bins: int | str) -> str:
        """The [bins, size] matrix; `bins` is a number, or a variable that holds it."""
        if isinstance(bins, int):
            count = self.constant(np.array([bins], np.float32))
            index = self.constant(np.arange(bins, dtype=np.float32).reshape(-1, 1))
        else:
            flat = self.add("reshape2", {"X": bins}, (1,), self.program.dtype(bins), shape=[1])
            count = self._to_float(flat, self.program.dtype(bins))
            index = self._column(self._count_to(count))
        one = self.constant(np.array([1.0], np.float32))
        after = self._binary("elementwise_add", index, one, (-1, 1))
        start = self._edge("floor", index, size, count)
        end = self._edge("ceil", after, size, count)
        position = self._count_to(size)
        late = self._binary("greater_equal", position, start, (-1, -1), "bool")
        early = self._binary("less_than", position, end, (-1, -1), "bool")
        inside = self.add("logical_and", {"X": late, "Y": early}, (-1, -1), "bool")
        width = self._binary("elementwise_sub", end, start, (-1, 1))
        return self._binary("elementwise_div", self._to_float(inside, "bool"), width, (-1, -1))

    def _edge(self, rounding: str, index: str, size: str, count: str) -> str:
        scaled = self._binary("elementwise_mul", index, size, (-1, 1))
        return self.add(rounding, {"X": self._binary("elementwise_div", scaled, count, (-1, 1))}, (-1, 1))

    def _count_to(self, end: str) -> str:
        zero, one = (self.constant(np.array([value], np.float32)) for value in (0.0, 1.0))
        return self.add("range", {"Start": zero, "End": end, "Step": one}, (-1,))

    def _column(self, row: str) -> str:
        return self.add("reshape2", {"X": row}, (-1, 1), shape=[-1, 1])

    def _binary(self, kind: str, x: str, y: str, dims: tuple[int, ...], dtype: str = "float32") -> str:
        return self.add(kind, {"X": x, "Y": y}, dims, dtype, axis=-1)

    def _to_float(self, source: str, dtype: str) -> str:
        dims = self.program.shape(source)
        return self.add("cast", {"X": source}, dims, in_dtype=_CODE[dtype], out_dtype=_CODE["float32"])
