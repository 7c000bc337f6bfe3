"""Rewrites deformable convolutions as a grid sample and a 1x1 convolution.

paddle2onnx writes ONNX's DeformConv, which needs opset 19 and has no kernel in ONNX Runtime; Paddle-Lite aborts at run
time if the filter's groups differ from the offsets' groups. For each kernel tap, the operator samples the image
bilinearly at the tap's offset, with zeros outside; a mask weights the samples; the filter sums them. One grid_sampler
reads all taps, stacked below each other as one image.

Dai et al., Deformable Convolutional Networks, ICCV 2017, section 2.1; the mask: Zhu et al., CVPR 2019, section 3.2.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import LITE, ONNX, EachOperator, OpBuilder, Target

_TYPES = ("deformable_conv", "deformable_conv_v1")


class DeformableConvToGrid(EachOperator):
    """Rewrites operators of known size; for Paddle-Lite only those on which it aborts."""

    name = "deformable_conv_to_grid"
    version = "1"
    what = "deformable_conv"
    became = "written as grid_sampler and conv2d"

    def __init__(self, targets: frozenset[Target]) -> None:
        self.targets = targets

    def takes(self, program: Program, op: Op) -> bool:
        if op.type not in _TYPES or op.input("Filter") not in program.params:
            return False
        if ONNX not in self.targets and not has_unlike_groups(program, op):
            return False
        return -1 not in (*program.shape(op.input("Input") or ""), *program.shape(op.input("Offset") or ""))

    def change(self, program: Program, op: Op) -> None:
        build = OpBuilder(program, f"{op.output('Output')}.deformed")
        filter, groups = program.params[op.input("Filter") or ""], op.attr("deformable_groups", 1)
        batch, channels, height, width = program.shape(op.input("Input") or "")
        rows, columns = program.shape(op.input("Offset") or "")[2:]
        taps = filter.shape[2] * filter.shape[3]
        image = build.reshape(op.input("Input") or "", (batch * groups, channels // groups, height, width))
        grid = _grid(
            build, op, (filter.shape[2], filter.shape[3]), (batch * groups, taps, rows, columns), (height, width)
        )
        tall = (batch * groups, channels // groups, taps * rows, columns)
        attrs: dict[str, Any] = {"mode": "bilinear", "padding_mode": "zeros", "align_corners": False}
        read = build.add("grid_sampler", {"X": image, "Grid": grid}, tall, slot="Output", **attrs)
        if op.input("Mask"):
            weights = build.reshape(op.input("Mask") or "", (batch * groups, 1, taps * rows, columns))
            read = build.binary("elementwise_mul", read, weights, tall)
        columns_of = build.reshape(read, (batch, channels * taps, rows, columns))
        flat = build.param(filter.reshape(filter.shape[0], -1, 1, 1))
        conv: dict[str, Any] = {
            "strides": [1, 1],
            "paddings": [0, 0],
            "dilations": [1, 1],
            "groups": op.attr("groups", 1),
        }
        conv |= {"padding_algorithm": "EXPLICIT", "data_format": "NCHW"}
        out, inputs = op.output("Output") or "", {"Input": columns_of, "Filter": flat}
        build.add("conv2d", inputs, program.shape(out), slot="Output", out=out, **conv)
        program.replace(op, *build.ops)


def has_unlike_groups(_program: Program, op: Op) -> bool:
    """Whether the filter's groups differ from the offsets' groups."""
    return op.attr("groups", 1) != op.attr("deformable_groups", 1)


def _grid(
    build: OpBuilder, op: Op, kernel: tuple[int, int], dims: tuple[int, int, int, int], image: tuple[int, int]
) -> str:
    """Returns the taps' sampling positions, from -1 to 1 over the image, [n, taps * rows, columns, 2]."""
    count, taps, rows, columns = dims
    offsets = build.reshape(op.input("Offset") or "", (count, taps, 2, rows, columns))
    axes = []
    for index in (1, 0):  # offsets are (y, x), the grid needs (x, y)
        start = _positions(op, kernel, (rows, columns), index)
        attrs: dict[str, Any] = {
            "axes": [2],
            "starts": [index],
            "ends": [index + 1],
            "infer_flags": [1],
            "decrease_axis": [2],
        }
        offset = build.add("slice", {"Input": offsets}, (count, taps, rows, columns), **attrs)
        side = image[index]
        scaled = build.affine(offset, (count, taps, rows, columns), 2.0 / side)
        constant = build.param(((2.0 * start + 1.0) / side - 1.0).astype(np.float32))
        placed = build.binary("elementwise_add", scaled, constant, (count, taps, rows, columns))
        axes.append(build.reshape(placed, (count, taps * rows, columns, 1)))
    return build.add("concat", {"X": axes}, (count, taps * rows, columns, 2), axis=3)


def _positions(op: Op, kernel: tuple[int, int], out: tuple[int, int], axis: int) -> np.ndarray:
    """Returns the taps' positions without offsets, in pixels along an axis (0: y), [1, taps, rows, columns]."""
    tap = np.indices(kernel)[axis].reshape(-1) * op.attr("dilations", [1, 1])[axis]
    place = np.indices(out)[axis] * op.attr("strides", [1, 1])[axis] - op.attr("paddings", [0, 0])[axis]
    return (tap.reshape(1, -1, 1, 1) + place).astype(np.float64)


class DeformableConvMask(EachOperator):
    """Adds a mask of ones where it is missing: Paddle-Lite requires a mask."""

    name = "deformable_conv_mask"
    version = "1"
    targets = LITE
    what = "deformable_conv_v1"
    became = "given a mask of ones"

    def takes(self, program: Program, op: Op) -> bool:
        return op.type == "deformable_conv_v1" and -1 not in program.shape(op.input("Offset") or "")

    def change(self, program: Program, op: Op) -> None:
        batch, channels, rows, columns = program.shape(op.input("Offset") or "")
        op.type = "deformable_conv"
        ones = np.ones((batch, channels // 2, rows, columns), np.float32)
        op.inputs["Mask"] = [program.add_param(f"{op.output('Output')}.mask", ones)]
