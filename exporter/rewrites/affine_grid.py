"""Rewrites affine_grid of known size as one matrix product: paddle2onnx and Paddle-Lite on x86 lack the operator."""

from __future__ import annotations

import numpy as np

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import EVERY, EachOperator, OpBuilder


class AffineGridToMatmul(EachOperator):
    """Multiplies each affine matrix by the coordinates (x, y, 1) of all pixels, -1 to 1 along each axis."""

    name = "affine_grid_to_matmul"
    version = "1"
    targets = EVERY
    what = "affine_grid"
    became = "written as matmul_v2"

    def takes(self, program: Program, op: Op) -> bool:
        if op.type != "affine_grid" or op.inputs.get("OutputShape"):
            return False
        return len(op.attr("output_shape") or []) == 4 and program.shape(op.input("Theta") or "")[1:] == (2, 3)

    def change(self, program: Program, op: Op) -> None:
        theta, out = op.input("Theta") or "", op.output("Output") or ""
        images, (rows, columns) = program.shape(theta)[0], op.attr("output_shape")[2:]
        build = OpBuilder(program, f"{out}.grid")
        y, x = (_centres(size, bool(op.attr("align_corners", True))) for size in (rows, columns))
        pixels = np.stack([np.tile(x, rows), np.repeat(y, columns), np.ones(rows * columns)]).astype(np.float32)
        lines = images * 2 if images > 0 else -1
        places = {"X": build.reshape(theta, (lines, 3)), "Y": build.param(pixels)}
        flat = build.add("matmul_v2", places, (lines, rows * columns), trans_x=False, trans_y=False)
        grid = build.reshape(flat, (images, 2, rows, columns))
        shadow = program.add_var(f"{out}.xshape", (0, images, 2, rows, columns), "float32")
        also = {"XShape": shadow}
        build.add("transpose2", {"X": grid}, (images, rows, columns, 2), out=out, also=also, axis=[0, 2, 3, 1])
        program.replace(op, *build.ops)


def _centres(size: int, has_corners: bool) -> np.ndarray:
    """Returns the coordinates of an axis: its corner pixels at -1 and 1, or its edges."""
    places = np.linspace(-1.0, 1.0, size)
    return places if has_corners else places * (size - 1) / size
