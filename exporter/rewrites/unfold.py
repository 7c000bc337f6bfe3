"""Rewrites unfold as a depthwise convolution whose filters pick one pixel each.

paddle2onnx gathers rows and columns, which ncnn and LiteRT's delegates lack, and needs equal paddings on both sides.
"""

from __future__ import annotations

import numpy as np

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import ONNX, EachOperator, OpBuilder


class UnfoldToConvolution(EachOperator):
    """Rewrites operators on images with a known number of channels."""

    name = "unfold_to_convolution"
    version = "1"
    targets = frozenset({ONNX})
    what = "unfold"
    became = "written as depthwise convolution"

    def takes(self, program: Program, op: Op) -> bool:
        dims = program.shape(op.input("X") or "") if op.type == "unfold" else ()
        return len(dims) == 4 and dims[1] > 0 and program.dtype(op.input("X") or "") == "float32"

    def change(self, program: Program, op: Op) -> None:
        x, out = op.input("X") or "", op.output("Y") or ""
        dims, made, build = program.shape(x), program.shape(out), OpBuilder(program, f"{out}.windows")
        rows, columns = op.attr("kernel_sizes")
        top, left, bottom, right = op.attr("paddings")
        taps = np.eye(rows * columns, dtype=np.float32).reshape(-1, 1, rows, columns)
        filters = build.param(np.tile(taps, (dims[1], 1, 1, 1)))
        windows = (dims[0], dims[1] * rows * columns, -1, -1)
        picked = build.add(
            "conv2d",
            {"Input": x, "Filter": filters},
            windows,
            slot="Output",
            strides=op.attr("strides"),
            paddings=[top, bottom, left, right],
            dilations=op.attr("dilations"),
            groups=dims[1],
            padding_algorithm="EXPLICIT",
            data_format="NCHW",
        )
        build.reshape(picked, (0, windows[1], made[2]), out=out)
        program.replace(op, *build.ops)
