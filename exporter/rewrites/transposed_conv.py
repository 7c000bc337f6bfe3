"""Rewrites `output_size` of a transposed convolution as uneven paddings.

With a stride, several output sizes fit one input size, and `output_size` selects one. paddle2onnx silently drops it, so
the result lacks a row and a column. Cropping less at the bottom and right is equivalent.
"""

from __future__ import annotations

from segexport.errors import UnsupportedModelError
from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import EVERY, EachOperator

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
