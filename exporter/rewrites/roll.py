"""Rewrites roll by more than an axis's size, along a dynamic axis, or over the flattened tensor.

paddle2onnx slices at the shift, which can exceed the axis; Paddle-Lite only rolls along axes.
"""

from __future__ import annotations

from math import prod

import numpy as np

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import EVERY, ONNX, EachOperator, OpBuilder


class RollWithinAxis(EachOperator):
    """Reduces shifts modulo the known size, and writes a flattened roll as a roll of a single axis."""

    name = "roll_within_axis"
    version = "1"
    targets = EVERY
    what = "roll"
    became = "written with shifts within an axis"

    def takes(self, program: Program, op: Op) -> bool:
        if op.type != "roll" or op.inputs.get("ShiftsTensor"):
            return False
        dims, axes = program.shape(op.input("X") or ""), op.attr("axis")
        if not axes:
            return -1 not in dims
        return any(-1 < dims[axis] <= abs(shift) for shift, axis in _shifts(op))

    def change(self, program: Program, op: Op) -> None:
        source = op.input("X") or ""
        dims, axes, shifts = program.shape(source), op.attr("axis"), op.attr("shifts")
        if axes:
            sizes = [dims[axis] for axis in axes]
            within = [shift % size if size > 0 else shift for shift, size in zip(shifts, sizes, strict=True)]
            op.set_attr("shifts", within, "LONGS")
            return
        out, many = op.output("Out") or "", prod(dims)
        build = OpBuilder(program, f"{out}.line")
        line = build.reshape(source, (many,))
        rolled = build.add("roll", {"X": line}, (many,), program.dtype(source))
        build.ops[-1].set_attr("axis", [0], "LONGS")
        build.ops[-1].set_attr("shifts", [shifts[0] % many], "LONGS")
        build.reshape(rolled, dims, out=out)
        program.replace(op, *build.ops)


class RollOfFreeAxis(EachOperator):
    """For a dynamic size, gathers at (position - shift) modulo the size, computed at run time."""

    name = "roll_of_free_axis"
    version = "1"
    targets = frozenset({ONNX})
    what = "roll"
    became = "of a dynamic axis written as gather"

    def takes(self, program: Program, op: Op) -> bool:
        if op.type != "roll" or op.inputs.get("ShiftsTensor") or not op.attr("axis"):
            return False
        dims = program.shape(op.input("X") or "")
        return any(dims[axis] < 0 and abs(shift) > 1 for shift, axis in _shifts(op))  # no axis is shorter than 1

    def change(self, program: Program, op: Op) -> None:
        source, out = op.input("X") or "", op.output("Out") or ""
        build = OpBuilder(program, f"{out}.roll")
        dims, dtype = program.shape(source), program.dtype(source)
        sizes = build.add("shape", {"Input": source}, (len(dims),), "int32")
        found, known = source, [(shift, axis) for shift, axis in _shifts(op) if dims[axis] >= 0]
        if known:
            found = build.add("roll", {"X": found}, dims, dtype)
            build.ops[-1].set_attr("shifts", [shift for shift, _ in known], "LONGS")
            build.ops[-1].set_attr("axis", [axis for _, axis in known], "LONGS")
        for shift, axis in _shifts(op):
            if dims[axis] < 0:
                index = _places(build, sizes, axis % len(dims), shift)
                found = build.add("gather", {"X": found, "Index": index}, dims, dtype, axis=axis % len(dims))
        build.ops[-1].outputs["Out"] = [out]
        program.replace(op, *build.ops)


def _shifts(op: Op) -> list[tuple[int, int]]:
    """Returns the (shift, axis) pairs."""
    return list(zip(op.attr("shifts"), op.attr("axis"), strict=True))


def _places(build: OpBuilder, sizes: str, axis: int, shift: int) -> str:
    """Returns the source index of each element of an axis, int32."""
    back = build.param(np.array([-shift], np.int32))
    size = build.add("slice", {"Input": sizes}, (1,), "int32", axes=[0], starts=[axis], ends=[axis + 1])
    there = build.binary("elementwise_add", build.positions(size), back, (-1,), "int32")
    return build.binary("elementwise_mod", there, size, (-1,), "int32")
