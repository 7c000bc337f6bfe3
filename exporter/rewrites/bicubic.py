"""Bicubic interpolation as two matrix products, for Paddle-Lite, which has none.

Each output pixel of a line is a weighted sum of four input pixels (Keys 1981, a = -0.75), beyond the edges the nearest;
what a line's weights are depends on sizes alone, so out = rows @ X @ columns with constant matrices.
"""

from __future__ import annotations

import numpy as np

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import LITE, EachOperator, matmul

_A = -0.75


class BicubicToMatmul(EachOperator):
    """Rewrites every resize of known sizes (NCHW)."""

    name = "bicubic_to_matmul"
    version = "2"
    targets = LITE
    what = "bicubic_interp_v2"
    became = "written as two matrix products"

    def takes(self, program: Program, op: Op) -> bool:
        if op.type != "bicubic_interp_v2" or op.attr("data_layout", "NCHW") != "NCHW":
            return False
        if any(op.inputs.get(slot) for slot in ("OutSize", "SizeTensor", "Scale")):
            return False
        dims = (*program.shape(op.input("X") or ""), *program.shape(op.output("Out") or ""))
        return len(dims) == 8 and -1 not in dims[2:4] + dims[6:]

    def change(self, program: Program, op: Op) -> None:
        corners = bool(op.attr("align_corners"))
        lines = [bicubic_matrix(before, after, corners, scale) for before, after, scale in sides(program, op)]
        to_products(program, op, *lines)


def sides(program: Program, op: Op) -> list[tuple[int, int, float]]:
    """Of height and width: the size before and after, and the factor that was asked for, or 0."""
    scales = op.attr("scale") if isinstance(op.attr("scale"), list) else []  # older operators take the sizes' ratio
    given = scales * 2 if len(scales) == 1 else scales or [0.0, 0.0]
    before, after = (program.shape(name or "")[2:] for name in (op.input("X"), op.output("Out")))
    return list(zip(before, after, given, strict=True))


def to_products(program: Program, op: Op, of_rows: np.ndarray, of_columns: np.ndarray) -> None:
    """Puts two matrix products in the place of a resize, with the weights of each line as rows of the matrices."""
    source, out = op.input("X") or "", op.output("Out") or ""
    dims, after = program.shape(source), program.shape(out)
    rows = program.add_param(f"{out}.rows", of_rows)
    columns = program.add_param(f"{out}.columns", np.ascontiguousarray(of_columns.T))
    wide, over_columns = matmul(program, source, columns, (*dims[:3], after[3]))
    _, over_rows = matmul(program, rows, wide, after, out=out)
    program.replace(op, over_columns, over_rows)


def step(before: int, after: int, align_corners: bool, scale: float) -> float:
    """How many pixels of the input lie between two of the output; 0 where there is one only."""
    if after == 1:
        return 0.0
    if align_corners:
        return (before - 1) / (after - 1)
    return 1.0 / scale if scale > 0 else before / after


def bicubic_matrix(before: int, after: int, align_corners: bool, scale: float = 0.0) -> np.ndarray:
    """[after, before] float32: row i has the weights of output pixel i. `scale`: the one that was asked for, or 0."""
    ratio = step(before, after, align_corners, scale)
    at = np.arange(after) * ratio if align_corners else (np.arange(after) + 0.5) * ratio - 0.5
    first = np.floor(at).astype(int)
    matrix = np.zeros((after, before))
    for offset in (-1, 0, 1, 2):
        weight = _cubic(np.abs(at - first - offset))
        np.add.at(matrix, (np.arange(after), np.clip(first + offset, 0, before - 1)), weight)
    return matrix.astype(np.float32)


def _cubic(distance: np.ndarray) -> np.ndarray:
    near = ((_A + 2) * distance - (_A + 3)) * distance**2 + 1
    far = ((_A * distance - 5 * _A) * distance + 8 * _A) * distance - 4 * _A
    return np.where(distance <= 1, near, far)
