"""Rewrites strided slices: clips out-of-range bounds to the axis, and writes negative strides as a gather.

For negative strides, Paddle reads an end of -1 as the position before the first element, and an end below the axis as
the first element; neither ONNX nor Paddle-Lite does. Paddle-Lite gives wrong values for every negative stride.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import EVERY, EachOperator, OpBuilder

_FAR = 2**31 - 1  # beyond the end of any axis
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


class StridedSliceOfFreeAxis(EachOperator):
    """Rewrites backward slices of a whole axis of free size as a flip and a forward slice."""

    name = "strided_slice_of_free_axis"
    version = "1"
    targets = EVERY
    what = "strided_slice"
    became = "backwards along a dynamic axis written as flip"

    def takes(self, program: Program, op: Op) -> bool:
        if op.type != "strided_slice" or op.attr("decrease_axis") or any(op.inputs.get(slot) for slot in _COMPUTED):
            return False
        dims = program.shape(op.input("Input") or "")
        back = [cut for cut in _cuts(op) if cut[3] < 0 and dims[cut[0]] < 0]
        return bool(back) and all((start == -1 or start >= _FAR) and end == -1 for _, start, end, _ in back)

    def change(self, program: Program, op: Op) -> None:
        source, out = op.input("Input") or "", op.output("Out") or ""
        build, dtype = OpBuilder(program, f"{out}.part"), program.dtype(source)
        dims, cuts = list(program.shape(source)), _cuts(op)
        flipped = [axis for axis, _, _, stride in cuts if stride < 0 and dims[axis] < 0]
        found = build.add("flip", {"X": source}, tuple(dims), dtype, axis=flipped)
        ahead = [(axis, 0, _FAR, -stride) if axis in flipped else cut for cut in cuts for axis, *_, stride in [cut]]
        ahead = [cut for cut in ahead if cut[0] not in flipped or cut[3] > 1]
        if ahead:
            axes, starts, ends, strides = (list(numbers) for numbers in zip(*ahead, strict=True))
            bounds: dict[str, Any] = {"axes": axes, "starts": starts, "ends": ends, "strides": strides}
            flags = [1] * len(axes)
            build.add("strided_slice", {"Input": found}, program.shape(out), dtype, infer_flags=flags, **bounds)
            build.ops[-1].set_attr("decrease_axis", [], "INTS")
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
