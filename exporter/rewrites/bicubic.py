"""Rewrites bicubic interpolation as two matrix products, for Paddle-Lite, which lacks it.

Each output pixel of a line is a weighted sum of four input pixels (Keys 1981, a = -0.75); pixels outside the image take
the nearest edge value. The weights depend only on the sizes, so out = rows @ X @ columns with constant matrices.
"""

from __future__ import annotations

import numpy as np

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import LITE, EachOperator, Target, matmul

_A = -0.75


class BicubicToMatmul(EachOperator):
    """Rewrites every bicubic resize of known size (NCHW)."""

    name = "bicubic_to_matmul"
    version = "2"
    what = "bicubic_interp_v2"
    became = "written as two matrix products"

    def __init__(self, targets: frozenset[Target] = LITE) -> None:
        self.targets = targets

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
    """Returns input size, output size and requested scale factor (0 if none) for height and for width."""
    scales = op.attr("scale") if isinstance(op.attr("scale"), list) else []  # older operators use the sizes' ratio
    given = scales * 2 if len(scales) == 1 else scales or [0.0, 0.0]
    before, after = (program.shape(name or "")[2:] for name in (op.input("X"), op.output("Out")))
    return list(zip(before, after, given, strict=True))


def to_products(program: Program, op: Op, of_rows: np.ndarray, of_columns: np.ndarray) -> None:
    """Replaces a resize by two matrix products; each matrix row contains the weights of one output line."""
    source, out = op.input("X") or "", op.output("Out") or ""
    dims, after = program.shape(source), program.shape(out)
    rows = program.add_param(f"{out}.rows", of_rows)
    columns = program.add_param(f"{out}.columns", np.ascontiguousarray(of_columns.T))
    wide, over_columns = matmul(program, source, columns, (*dims[:3], after[3]))
    _, over_rows = matmul(program, rows, wide, after, out=out)
    program.replace(op, over_columns, over_rows)


def step(before: int, after: int, align_corners: bool, scale: float) -> float:
    """Distance in input pixels between two output pixels; 0 if there is only one output pixel."""
    if after == 1:
        return 0.0
    if align_corners:
        return (before - 1) / (after - 1)
    return 1.0 / scale if scale > 0 else before / after


def bicubic_matrix(before: int, after: int, align_corners: bool, scale: float = 0.0) -> np.ndarray:
    """Returns [after, before] float32; row i has output pixel i's weights. `scale`: the requested factor, or 0."""
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
