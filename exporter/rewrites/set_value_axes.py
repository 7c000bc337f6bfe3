"""Rewrites set_value along several axes as nested forward writes along one axis each, for paddle2onnx.

x[a, b] = v becomes: slice x[a], write v into its [b], write the result back to x[a]. Negative strides flip v. A part
without gaps that a tensor of its size replaces is concatenated with what is before and behind it: the runtimes of
phones lack ONNX's scatter.
Paddle ends x[mask] = v by a set_value without axes, which writes the whole tensor: a copy.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import ONNX, EachOperator, OpBuilder

_COMPUTED = ("StartsTensorList", "EndsTensorList", "StepsTensorList")


class SetValueOfOneAxis(EachOperator):
    """Rewrites operators with constant bounds and known sizes along the written axes."""

    name = "set_value_of_one_axis"
    version = "4"
    targets = frozenset({ONNX})
    what = "set_value"
    became = "written axis by axis"

    def takes(self, program: Program, op: Op) -> bool:
        if op.type != "set_value" or op.attr("none_axes") or any(op.inputs.get(slot) for slot in _COMPUTED):
            return False
        axes, dims, value = op.attr("axes") or [], program.shape(op.input("Input") or ""), op.input("ValueTensor")
        if not axes:
            return value is not None and program.shape(value) == dims
        if any(dims[axis] < 0 for axis in axes):
            return False
        if value and not _is_known(program, op, value):
            return False
        bounds = zip(op.attr("starts"), op.attr("ends"), op.attr("steps"), axes, strict=True)
        is_narrow = value is not None and len(program.shape(value)) < len(dims)  # ONNX counts its axes from the front
        is_beyond = any(start < 0 or not 0 <= end <= dims[axis] or step < 0 for start, end, step, axis in bounds)
        return len(axes) > 1 or is_narrow or is_beyond or (value is not None and _replaces(program, op, value))

    def change(self, program: Program, op: Op) -> None:
        build = OpBuilder(program, f"{op.output('Out')}.part")
        value, dropped = op.input("ValueTensor"), sorted(op.attr("decrease_axes") or [])
        if not op.attr("axes"):
            program.replace(op, Op("assign", {"X": [value or ""]}, op.outputs))
            return
        if value:
            value = _with_all_axes(program, build, op, value, dropped)
        _written(program, build, op, op.input("Input") or "", 0, value, op.output("Out") or "")
        program.replace(op, *build.ops)


def _with_all_axes(program: Program, build: OpBuilder, op: Op, value: str, dropped: list[int]) -> str:
    """Adds axes of size 1 to the value: leading axes, and axes that were indexed by one number."""
    rank = len(program.shape(op.input("Input") or ""))
    given = list(program.shape(value))
    if len(given) == rank:
        return value
    given = [1] * (rank - len(dropped) - len(given)) + given
    for axis in sorted(axis % rank for axis in dropped):
        given.insert(axis, 1)
    return build.reshape(value, tuple(given))


def _written(program: Program, build: OpBuilder, op: Op, source: str, index: int, value: str | None, out: str) -> None:
    """Writes the value into `source` along the axes from number `index` on."""
    axis, start, end, step = (op.attr(name)[index] for name in ("axes", "starts", "ends", "steps"))
    dims, kind = list(program.shape(source)), program.dtype(source)
    taken = places(start, end, step, dims[axis])
    if taken.step < 0:
        taken = taken[::-1]
        value = _turned(program, build, value, axis) if value else None
    start, end, step = taken.start, taken.stop, taken.step
    if index < len(op.attr("axes")) - 1:
        dims[axis] = len(taken)
        bounds = {"axes": [axis], "starts": [start], "ends": [end], "strides": [step], "infer_flags": [1]}
        part = build.add("strided_slice", {"Input": source}, tuple(dims), kind, decrease_axis=[], **bounds)
        inner = program.add_var(f"{out}.part", dims, kind)
        _written(program, build, op, part, index + 1, value, inner)
        value = inner
    if value is not None and step == 1 and program.shape(value) == _of_part(program, source, axis, len(taken)):
        _joined(program, build, source, axis, (start, end), value, out)
        return
    new = Op("set_value", {"Input": [source]}, {"Out": [out]}, dict(op.attrs))
    if value is not None:
        new.inputs["ValueTensor"] = [value]
        for name in [name for name in new.attrs if name == "values" or name.endswith("_values")]:
            del new.attrs[name]
        new.set_attr("shape", [1], "LONGS")
    for name, number in (("axes", axis), ("starts", start), ("ends", end), ("steps", step)):
        new.set_attr(name, [number], "LONGS")
    new.set_attr("decrease_axes", [], "LONGS")
    build.ops.append(new)


def _of_part(program: Program, source: str, axis: int, size: int) -> tuple[int, ...]:
    """Returns the shape of a part of `source` with `size` elements along an axis."""
    dims = program.shape(source)
    return (*dims[:axis], size, *dims[axis + 1 :])


def _replaces(program: Program, op: Op, value: str) -> bool:
    """Whether the value has the size of the part without gaps along the only axis that it replaces."""
    (axis,), (start,), (end,), (step,) = (op.attr(name) for name in ("axes", "starts", "ends", "steps"))
    source = op.input("Input") or ""
    taken = places(start, end, step, program.shape(source)[axis])
    return taken.step == 1 and len(taken) > 0 and program.shape(value) == _of_part(program, source, axis, len(taken))


def _joined(
    program: Program, build: OpBuilder, source: str, axis: int, bounds: tuple[int, int], value: str, out: str
) -> None:
    """Concatenates what is before the bounds, the value, and what is behind them."""
    (start, end), size, kind = bounds, program.shape(source)[axis], program.dtype(source)

    def kept(first: int, last: int) -> list[str]:
        if first == last:
            return []
        dims = _of_part(program, source, axis, last - first)
        cut: dict[str, Any] = {"axes": [axis], "starts": [first], "ends": [last], "infer_flags": [1]}
        return [build.add("slice", {"Input": source}, dims, kind, decrease_axis=[], **cut)]

    parts = [*kept(0, start), value, *kept(end, size)]
    if len(parts) == 1:
        build.add("assign", {"X": value}, program.shape(source), kind, out=out)
    else:
        build.add("concat", {"X": parts}, program.shape(source), kind, out=out, axis=axis)


def _is_known(program: Program, op: Op, value: str) -> bool:
    """Whether the value's shape is known where axes are added, and along axes written backwards."""
    given, rank = program.shape(value), len(program.shape(op.input("Input") or ""))
    if len(given) < rank:
        return -1 not in given
    backwards = [axis for axis, step in zip(op.attr("axes"), op.attr("steps"), strict=True) if step < 0]
    return all(given[axis] > 0 for axis in backwards)


def places(start: int, end: int, step: int, size: int) -> range:
    """Returns the positions that Paddle writes on an axis of `size` elements."""
    return range(*slice(start, end, step).indices(size))


def _turned(program: Program, build: OpBuilder, value: str, axis: int) -> str:
    """Flips the value along an axis."""
    dims = program.shape(value)
    if dims[axis] == 1:
        return value
    index = build.param(np.arange(dims[axis], dtype=np.int32)[::-1].copy())
    return build.add("gather", {"X": value, "Index": index}, dims, program.dtype(value), axis=axis)
