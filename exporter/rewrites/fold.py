"""Rewrites fold (col2im) as a grouped transposed convolution, which adds each value to its pixel.

No converter supports fold.
"""

from __future__ import annotations

import numpy as np

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import EVERY, EachOperator, OpBuilder


class FoldToTransposedConvolution(EachOperator):
    """Rewrites operators with a known number of channels; each filter places one value of the window."""

    name = "fold_to_transposed_convolution"
    version = "1"
    targets = EVERY
    what = "fold"
    became = "written as transposed convolution"

    def takes(self, program: Program, op: Op) -> bool:
        dims = program.shape(op.input("X") or "") if op.type == "fold" else ()
        if len(dims) != 3 or dims[1] < 1 or program.dtype(op.input("X") or "") != "float32":
            return False
        top, left, bottom, right = op.attr("paddings")
        return top == bottom and left == right  # Paddle itself counts windows of others in two ways

    def change(self, program: Program, op: Op) -> None:
        x, out = op.input("X") or "", op.output("Y") or ""
        dims, build = program.shape(x), OpBuilder(program, f"{out}.windows")
        sizes, kernel, strides, dilations = (
            op.attr(name) for name in ("output_sizes", "kernel_sizes", "strides", "dilations")
        )
        top, left, bottom, right = op.attr("paddings")
        taps = kernel[0] * kernel[1]
        channels = dims[1] // taps
        reach = [dilation * (size - 1) + 1 for dilation, size in zip(dilations, kernel, strict=True)]
        room = [size + pad - far for size, pad, far in zip(sizes, (top + bottom, left + right), reach, strict=True)]
        steps = [free // stride for free, stride in zip(room, strides, strict=True)]
        windows = build.reshape(x, (dims[0] if dims[0] > 0 else -1, dims[1], steps[0] + 1, steps[1] + 1))
        places = np.eye(taps, dtype=np.float32).reshape(-1, 1, *kernel)
        build.add(
            "conv2d_transpose",
            {"Input": windows, "Filter": build.param(np.tile(places, (channels, 1, 1, 1)))},
            program.shape(out),
            slot="Output",
            out=out,
            strides=strides,
            paddings=[top, bottom, left, right],
            dilations=dilations,
            groups=channels,
            padding_algorithm="EXPLICIT",
            data_format="NCHW",
        )
        rest = [free - step * stride for free, step, stride in zip(room, steps, strides, strict=True)]
        build.ops[-1].set_attr("output_padding", rest if any(rest) else [], "INTS")
        build.ops[-1].set_attr("output_size", [], "INTS")
        program.replace(op, *build.ops)
