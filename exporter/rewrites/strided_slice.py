"""Rewrites strided slices: clips out-of-range bounds to the axis, and writes negative strides as a gather.

For negative strides, Paddle reads an end of -1 as the position before the first element, and an end below the axis as
the first element; neither ONNX nor Paddle-Lite does. Paddle-Lite gives wrong values for every negative stride.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import EVERY, EachOperator, OpBuilder

_COMPUTED = ("StartsTensor", "StartsTensorList", "EndsTensor", "EndsTensorList", "StridesTensor", "StridesTensorList")


class StridedSliceForwards(EachOperator):
    """Rewrites slices with negative strides or out-of-range bounds along axes of known size."""

    name = "strided_slice_forwards"
    version = "1"
    targets = EVERY
    what = "strided_slice"
    became = "cut to the axes, or written as gather"

    def takes(self, program: Program, op: Op) -> bool:
        if op.type != "strided_slice" or op.attr("decrease_axis") or any(op.inputs.get(slot) for slot in _COMPUTED):
            return False
        dims = program.shape(op.input("Input") or "")
        cuts = _cuts(op)
        if any(dims[axis] < 0 for axis, *_ in cuts):
            return False
        taken = [_taken(start, end, stride, dims[axis]) for axis, start, end, stride in cuts]
        beyond = any(stride < 0 or start < -dims[axis] or end < -dims[axis] for axis, start, end, stride in cuts)
        return beyond and all(len(places) > 0 for places in taken)

    def change(self, program: Program, op: Op) -> None:
        source, out = op.input("Input") or "", op.output("Out") or ""
        build = OpBuilder(program, f"{out}.part")
        dims, dtype = list(program.shape(source)), program.dtype(source)
        places = {axis: _taken(start, end, stride, dims[axis]) for axis, start, end, stride in _cuts(op)}
        ahead = {axis: part for axis, part in places.items() if part.step > 0}
        found = source
        if ahead:
            for axis, part in ahead.items():
                dims[axis] = len(part)
            bounds: dict[str, Any] = {
                "axes": list(ahead),
                "starts": [part.start for part in ahead.values()],
                "ends": [part.stop for part in ahead.values()],
                "strides": [part.step for part in ahead.values()],
                "infer_flags": [1] * len(ahead),
            }
            found = build.add("strided_slice", {"Input": found}, tuple(dims), dtype, **bounds)
            build.ops[-1].set_attr("decrease_axis", [], "INTS")
        for axis, part in places.items():
            if part.step < 0:
                dims[axis] = len(part)
                index = build.param(np.array(part, np.int32))
                found = build.add("gather", {"X": found, "Index": index}, tuple(dims), dtype, axis=axis)
        build.ops[-1].outputs["Out"] = [out]
        program.replace(op, *build.ops)


def _cuts(op: Op) -> list[tuple[int, int, int, int]]:
    """Returns (axis, start, end, stride) per sliced axis."""
    return list(zip(*(op.attr(name) for name in ("axes", "starts", "ends", "strides")), strict=True))


def _taken(start: int, end: int, stride: int, size: int) -> range:
    """Returns the positions that Paddle selects on an axis of `size` elements."""
    if stride > 0:
        return range(size)[start:end:stride]
    start = max(start, -size)
    if end == -1:
        return range(size)[start::stride]
    return range(size)[start : max(end, -size) : stride]
