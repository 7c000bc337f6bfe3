"""Follows an image back through operators that keep its height and width, whatever they are."""

from __future__ import annotations

from collections.abc import Mapping

from segexport.exporter.program import Op, Program
from segexport.exporter.shapes import SAME

_CONVOLUTIONS = ("conv2d", "depthwise_conv2d")
_SUMS = ("elementwise_add", "elementwise_sub", "elementwise_mul", "elementwise_div")


def size_origin(program: Program, image: str, producers: Mapping[str, Op]) -> str:
    """Returns the earliest tensor (NCHW) that surely has the height and width of `image`."""
    while (op := producers.get(image)) is not None and (slot := _keeps_size(program, op)):
        image = op.input(slot) or ""
    return image


def _keeps_size(program: Program, op: Op) -> str:
    """The slot of the input whose height and width the result has; empty if that is not certain."""
    if op.type in _CONVOLUTIONS:
        return "Input" if _is_padded_to_size(program, op) else ""
    if op.type in _SUMS:  # one number for each channel
        dims = program.shape(op.input("Y") or "")
        return "X" if dims[2:] == (1, 1) or (len(dims) == 1 and op.attr("axis") == 1) else ""
    return "X" if op.type in SAME and op.input("X") else ""


def _is_padded_to_size(program: Program, op: Op) -> bool:
    if set(op.attr("strides", [1, 1])) != {1} or op.attr("data_format", "NCHW") not in ("NCHW", "AnyLayout"):
        return False
    if op.attr("padding_algorithm", "EXPLICIT") == "SAME":
        return True
    pads, kernel = list(op.attr("paddings", [0, 0])), program.shape(op.input("Filter") or "")[2:]
    added = [2 * pad for pad in pads] if len(pads) == 2 else [pads[0] + pads[1], pads[2] + pads[3]]
    lost = [step * (side - 1) for step, side in zip(op.attr("dilations", [1, 1]), kernel, strict=True)]
    return op.attr("padding_algorithm", "EXPLICIT") == "EXPLICIT" and added == lost
