"""Rewrites take_along_axis as a gather from the flattened tensor and put_along_axis as a scatter into it.

Paddle-Lite supports neither operator; paddle2onnx does not support put_along_axis.
"""

from __future__ import annotations

from math import prod

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import LITE, MOST_ELEMENTS, ONNX, EachOperator, OpBuilder


class TakeAlongAxisToGather(EachOperator):
    """Rewrites operators of known size: flat index = index * stride of the axis + start of its line."""

    name = "take_along_axis_to_gather"
    version = "1"
    targets = LITE
    what = "take_along_axis"
    became = "written as gather"

    def takes(self, program: Program, op: Op) -> bool:
        if op.type != "take_along_axis":
            return False
        source, index = program.shape(op.input("Input") or ""), program.shape(op.input("Index") or "")
        return -1 not in (*source, *index) and prod(source) < MOST_ELEMENTS

    def change(self, program: Program, op: Op) -> None:
        program.replace(op, *_gathered(program, op))


def _gathered(program: Program, op: Op) -> list[Op]:
    source, index, out = op.input("Input") or "", op.input("Index") or "", op.output("Result") or ""
    build = OpBuilder(program, f"{out}.take")
    dims, wanted = program.shape(source), program.shape(index)
    flat = build.flat_index(index, dims, op.attr("Axis", 0))
    found = build.rows(build.reshape(source, (prod(dims),)), flat, (prod(wanted),))
    build.reshape(found, wanted, out=out)
    return build.ops


class PutAlongAxisToScatter(EachOperator):
    """Rewrites overwriting operators of known size."""

    name = "put_along_axis_to_scatter"
    version = "1"
    targets = frozenset({ONNX})
    what = "put_along_axis"
    became = "written as scatter"

    def takes(self, program: Program, op: Op) -> bool:
        if op.type != "put_along_axis" or op.attr("Reduce", "assign") != "assign":
            return False
        source, index = program.shape(op.input("Input") or ""), program.shape(op.input("Index") or "")
        return (
            -1 not in (*source, *index)
            and program.shape(op.input("Value") or "") == index
            and prod(source) < MOST_ELEMENTS
        )

    def change(self, program: Program, op: Op) -> None:
        program.replace(op, *_scattered(program, op))


def _scattered(program: Program, op: Op) -> list[Op]:
    source, index, out = op.input("Input") or "", op.input("Index") or "", op.output("Result") or ""
    build = OpBuilder(program, f"{out}.put")
    dims, wanted = program.shape(source), program.shape(index)
    flat = build.flat_index(index, dims, op.attr("Axis", 0))
    values = build.reshape(op.input("Value") or "", (prod(wanted), 1))
    inputs = {"X": build.reshape(source, (prod(dims), 1)), "Ids": flat, "Updates": values}
    put = build.add("scatter", inputs, (prod(dims), 1), program.dtype(source), overwrite=True)
    build.reshape(put, dims, out=out)
    return build.ops
