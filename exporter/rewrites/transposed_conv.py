"""Rewrites `output_size` of a transposed convolution, as uneven paddings or, where it is computed, as a slice.

With a stride, several output sizes fit one input size, and `output_size` selects one. paddle2onnx silently drops it, so
the result lacks a row and a column. Cropping less at the bottom and right is equivalent.
"""

from __future__ import annotations

from typing import Any

from segexport.errors import UnsupportedModelError
from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import EVERY, EachOperator, OpBuilder

_TYPES = ("conv2d_transpose", "depthwise_conv2d_transpose")


class TransposedConvPadding(EachOperator):
    """Subtracts the extra rows and columns from the bottom and right paddings."""

    name = "transposed_conv_padding"
    version = "2"
    targets = EVERY
    what = "conv2d_transpose"
    became = "given uneven paddings in place of an output size"

    def takes(self, program: Program, op: Op) -> bool:
        return op.type in _TYPES and bool(op.attr("output_size")) and not op.input("OutputSizeTensor")

    def change(self, program: Program, op: Op) -> None:
        top, bottom, left, right = _paddings(op)
        below, beside = _extra(program, op)
        if below > bottom or beside > right:
            raise UnsupportedModelError(
                f"{op.type} adds {below}x{beside} pixels of output padding to paddings of {bottom}x{right}",
                cause="the exporters cannot add rows that the convolution does not compute",
                hint="export the model with an output padding no larger than its padding",
            )
        op.set_attr("paddings", [top, bottom - below, left, right - beside])
        op.set_attr("output_padding", [], "INTS")
        op.set_attr("output_size", [], "INTS")


class TransposedConvSlice(EachOperator):
    """Computes every row and column that a size could ask for, and cuts the size out; those beyond the filter are 0."""

    name = "transposed_conv_slice"
    version = "1"
    targets = EVERY
    what = "conv2d_transpose"
    became = "of a computed output size followed by a slice"

    def takes(self, program: Program, op: Op) -> bool:
        sizes = op.attr("output_size") or []
        plain = op.attr("padding_algorithm", "EXPLICIT") == "EXPLICIT" and op.attr("data_format", "NCHW") == "NCHW"
        plain = plain and not op.input("Bias") and not any(op.attr("output_padding") or [])
        return op.type in _TYPES and plain and len(sizes) == 2 and all(isinstance(size, str) for size in sizes)

    def change(self, program: Program, op: Op) -> None:
        out = op.output("Output") or ""
        dims, dtype, build = (*program.shape(out)[:2], -1, -1), program.dtype(out), OpBuilder(program, f"{out}.part")
        top, bottom, left, right = _paddings(op)
        most = [stride - 1 for stride in op.attr("strides")]
        below, beside = min(most[0], bottom), min(most[1], right)
        full = program.add_var(f"{out}.full", dims, dtype)
        conv = Op(op.type, op.inputs, {**op.outputs, "Output": [full]}, dict(op.attrs))
        conv.set_attr("paddings", [top, bottom - below, left, right - beside])
        conv.set_attr("output_padding", [], "INTS")
        conv.set_attr("output_size", [], "INTS")
        build.ops.append(conv)
        if most != [below, beside]:
            padded = [0, most[1] - beside, 0, most[0] - below, 0, 0]
            volume = build.add("unsqueeze2", {"X": full}, (*dims[:2], 1, -1, -1), dtype, axes=[2])
            attrs: dict[str, Any] = {"paddings": padded, "mode": "constant", "value": 0.0, "data_format": "NCDHW"}
            volume = build.add("pad3d", {"X": volume}, (*dims[:2], 1, -1, -1), dtype, **attrs)
            full = build.add("squeeze2", {"X": volume}, dims, dtype, axes=[2])
        ends = [build.reshape(size, (1,)) for size in op.attr("output_size")]
        cut: dict[str, Any] = {"axes": [2, 3], "starts": [0, 0], "ends": [-1, -1], "infer_flags": [-1, -1]}
        build.add("slice", {"Input": full, "EndsTensorList": ends}, program.shape(out), dtype, out=out, **cut)
        build.ops[-1].set_attr("decrease_axis", [], "INTS")
        program.replace(op, *build.ops)


def _paddings(op: Op) -> tuple[int, int, int, int]:
    """Returns (top, bottom, left, right); `same_padding` has already made them numeric."""
    given = op.attr("paddings", [0, 0])
    return (given[0], given[0], given[1], given[1]) if len(given) == 2 else tuple(given)


def _extra(program: Program, op: Op) -> tuple[int, int]:
    """Returns the rows and columns beyond the size that strides, kernel and paddings give."""
    sizes, kernel = (program.shape(op.input(slot) or "")[2:4] for slot in ("Input", "Filter"))
    if -1 in sizes or op.attr("padding_algorithm", "EXPLICIT") == "SAME":
        raise UnsupportedModelError(
            f"{op.type} to {'x'.join(map(str, op.attr('output_size')))} pixels takes an input of dynamic size",
            cause="how many rows and columns it adds depends on the size of its input",
            hint="fix the size of the input: --input-size WIDTHxHEIGHT",
        )
    wanted = (list(op.attr("output_size")) * 2)[:2]
    top, bottom, left, right = _paddings(op)
    extra = []
    for axis, pads in ((0, top + bottom), (1, left + right)):
        span = op.attr("dilations", [1, 1])[axis] * (kernel[axis] - 1) + 1
        extra.append(wanted[axis] - ((sizes[axis] - 1) * op.attr("strides")[axis] - pads + span))
    return extra[0], extra[1]
