"""Rewrites adaptive average pooling as two matrix products, for ONNX and, of computed bins, for Paddle-Lite.

ONNX has no adaptive pooling. paddle2onnx writes a plain AveragePool, which is silently wrong if the number of bins does
not divide the size: bin i averages the pixels from floor(i*size/bins) to ceil((i+1)*size/bins), so bins differ in width
and overlap. Out = rows @ X @ columns with constant averaging matrices is exact. Paddle-Lite pools any constant number
of bins.
"""

from __future__ import annotations

import numpy as np

from segexport.errors import UnsupportedModelError
from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.adaptive_pool_free import pool_of_free_size
from segexport.exporter.rewrites.base import LITE, ONNX, EachOperator, matmul


class AdaptivePoolToMatmul(EachOperator):
    """Rewrites pools whose bin count does not divide the size; a single bin (global average) needs no rewrite."""

    name = "adaptive_pool_to_matmul"
    version = "2"
    targets = frozenset({ONNX})
    what = "adaptive pool2d"
    became = "written as two matrix products"

    def takes(self, program: Program, op: Op) -> bool:
        return _is_adaptive(op) and (op.attr("pooling_type") != "avg" or not _divides(program, op))

    def change(self, program: Program, op: Op) -> None:
        _change(program, op)


class AdaptivePoolOfComputedBins(EachOperator):
    """Rewrites average pools whose number of bins follows from the image's size."""

    name = "adaptive_pool_of_computed_bins"
    version = "1"
    targets = LITE
    what = "adaptive pool2d"
    became = "of computed bins written as two matrix products"

    def takes(self, program: Program, op: Op) -> bool:
        is_average = op.type == "pool2d" and bool(op.attr("adaptive")) and op.attr("pooling_type") == "avg"
        return is_average and not all(isinstance(bins, int) for bins in op.attr("ksize"))

    def change(self, program: Program, op: Op) -> None:
        program.replace(op, *pool_of_free_size(program, op))


def pooling_matrix(bins: int, size: int) -> np.ndarray:
    """Returns [bins, size] float32; row i averages the pixels of bin i."""
    matrix = np.zeros((bins, size), np.float32)
    for index in range(bins):
        start, end = index * size // bins, -(-(index + 1) * size // bins)
        matrix[index, start:end] = 1.0 / (end - start)
    return matrix


def _is_adaptive(op: Op) -> bool:
    is_average = op.attr("pooling_type") == "avg"
    return op.type == "pool2d" and bool(op.attr("adaptive")) and not (is_average and set(op.attr("ksize", [])) == {1})


def _spatial(program: Program, op: Op) -> tuple[int, int]:
    _, _, height, width = program.shape(op.input("X") or "")
    return height, width


def _divides(program: Program, op: Op) -> bool:
    """Whether the bins divide the size; False if either is known only at run time."""
    sizes, bins = _spatial(program, op), op.attr("ksize")
    if -1 in sizes or not all(isinstance(bin_, int) for bin_ in bins):
        return False
    return all(size % bin_ == 0 for size, bin_ in zip(sizes, bins, strict=True))


def _change(program: Program, op: Op) -> None:
    source, out = op.input("X") or "", op.output("Out") or ""
    dims, bins = program.shape(source), op.attr("ksize")
    if op.attr("pooling_type") != "avg":
        raise UnsupportedModelError(
            f"pool2d ({op.attr('pooling_type')}) into {bins[0]}x{bins[1]} adaptive bins of {dims} cannot be exported "
            "to ONNX",
            cause="Paddle itself treats these bins as windows of that size; its API writes max_pool2d_with_index",
            hint="write this layer with adaptive_max_pool2d",
        )
    height, width = _spatial(program, op)
    if -1 in (height, width) or not all(isinstance(bin_, int) for bin_ in bins):
        program.replace(op, *pool_of_free_size(program, op))
        return
    rows = program.add_param(f"{out}.rows", pooling_matrix(bins[0], height))
    columns = program.add_param(f"{out}.columns", np.ascontiguousarray(pooling_matrix(bins[1], width).T))
    narrow, over_columns = matmul(program, source, columns, (*dims[:3], bins[1]))
    _, over_rows = matmul(program, rows, narrow, program.shape(out), out=out)
    program.replace(op, over_columns, over_rows)
