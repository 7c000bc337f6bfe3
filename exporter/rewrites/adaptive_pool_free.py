"""Rewrites adaptive average pooling of dynamic size by computing the averaging matrices inside the graph.

Bin i of k over s pixels averages the pixels from floor(i*s/k) to ceil((i+1)*s/k), so its matrix row is
(start <= position < end) / (end - start), computed by a few small operators from the input's shape.
"""

from __future__ import annotations

import numpy as np

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import OpBuilder


def pool_of_free_size(program: Program, op: Op) -> list[Op]:
    """Returns the operators that replace an adaptive average pool (NCHW) of dynamic height or width."""
    source, out = op.input("X") or "", op.output("Out") or ""
    build = _Averages(program, f"{out}.pool")
    dims, bins = program.shape(source), op.attr("ksize")
    if isinstance(bins, str):  # one variable contains both
        bins = [build.element(bins, axis) for axis in (0, 1)]
    sizes = build.add("shape", {"Input": source}, (4,), "int32")
    rows = build.matrix(build.side(sizes, 2), bins[0])
    columns = build.matrix(build.side(sizes, 3), bins[1])
    narrow = build.averaged(source, columns, (*dims[:3], -1))
    sideways = build.add("transpose2", {"X": narrow}, (*dims[:2], -1, dims[2]), axis=[0, 1, 3, 2])
    small = build.averaged(sideways, rows, (*dims[:2], -1, -1))
    build.add("transpose2", {"X": small}, program.shape(out), out=out, axis=[0, 1, 3, 2])
    return build.ops


class _Averages(OpBuilder):
    """Builds one averaging matrix per side of the image."""

    def averaged(self, image: str, matrix: str, dims: tuple[int, ...]) -> str:
        """Averages along the last axis. Paddle-Lite multiplies by a matrix on the right only without errors."""
        turned = self.add("transpose2", {"X": matrix}, (-1, -1), axis=[1, 0])
        return self.add("matmul_v2", {"X": image, "Y": turned}, dims, trans_x=False, trans_y=False)

    def side(self, sizes: str, axis: int) -> str:
        """Returns the size of one axis of the image, float32 [1]."""
        return self.cast(self.element(sizes, axis), (1,), "float32")

    def element(self, values: str, index: int) -> str:
        """Returns one element of a list of integers, [1]."""
        dtype = self._program.dtype(values)
        return self.add("slice", {"Input": values}, (1,), dtype, axes=[0], starts=[index], ends=[index + 1])

    def matrix(self, size: str, bins: int | str) -> str:
        """Builds the [bins, size] matrix; `bins` is a number or the variable that contains it."""
        if isinstance(bins, int):
            count = self.constant(float(bins))
            index = self.param(np.arange(bins, dtype=np.float32).reshape(-1, 1))
        else:
            count = self.cast(self.reshape(bins, (1,)), (1,), "float32")
            index = self.reshape(self._count_to(count), (-1, 1))
        after = self.binary("elementwise_add", index, self.constant(1.0), (-1, 1))
        start = self._quotient(index, size, count, 0.5)
        end = self.affine(self._quotient(after, size, count, -0.5), (-1, 1), 1.0, 1.0)
        position = self._count_to(size)
        late = self.binary("greater_equal", position, start, (-1, -1), "bool")
        early = self.binary("less_than", position, end, (-1, -1), "bool")
        inside = self.add("logical_and", {"X": late, "Y": early}, (-1, -1), "bool")
        width = self.binary("elementwise_sub", end, start, (-1, 1))
        return self.binary("elementwise_div", self.cast(inside, (-1, -1), "float32"), width, (-1, -1))

    def _quotient(self, index: str, size: str, count: str, half: float) -> str:
        """floor((index * size + half) / count).

        For integers, half of 0.5 gives floor(index * size / count), and -0.5 gives ceil(index * size / count) - 1; both
        stay right where a processor divides in single precision approximately.
        """
        scaled = self.affine(self.binary("elementwise_mul", index, size, (-1, 1)), (-1, 1), 1.0, half)
        return self.add("floor", {"X": self.binary("elementwise_div", scaled, count, (-1, 1))}, (-1, 1))

    def _count_to(self, end: str) -> str:
        inputs = {"Start": self.constant(0.0), "End": end, "Step": self.constant(1.0)}
        return self.add("range", inputs, (-1,))
