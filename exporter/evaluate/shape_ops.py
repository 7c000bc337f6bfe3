"""Rules for operators that rearrange values: reshape, concat, slice, tile, where."""

from __future__ import annotations

import numpy as np

from segexport.exporter.evaluate.rule import Inputs, Rule, bounded, int_list, only, strided
from segexport.exporter.program import Op


def _reshape(op: Op, inputs: Inputs) -> np.ndarray:
    x = only(inputs)
    shape = int_list(op, inputs, "shape", "Shape", "ShapeTensor")
    return x.reshape([x.shape[axis] if size == 0 else size for axis, size in enumerate(shape)])


def _flatten(op: Op, inputs: Inputs) -> np.ndarray:
    x = only(inputs)
    start, stop = op.attr("start_axis", 1) % max(x.ndim, 1), op.attr("stop_axis", -1) % max(x.ndim, 1)
    return x.reshape((*x.shape[:start], -1, *x.shape[stop + 1 :]))


def _slices(op: Op, x: np.ndarray, starts: list[int], ends: list[int], steps: list[int]) -> tuple[slice, ...]:
    index = [slice(None)] * x.ndim
    for axis, start, end, step in zip(op.attr("axes"), starts, ends, steps, strict=True):
        size = x.shape[axis]
        if step < 0 and end < -size:
            raise ValueError(f"a slice backwards to {end} of {size}")
        index[axis] = slice(start, end, step)
    return tuple(index)


def _slice(op: Op, inputs: Inputs) -> np.ndarray:
    x = only(inputs, "Input")
    starts = int_list(op, inputs, "starts", "StartsTensor", "StartsTensorList")
    ends = int_list(op, inputs, "ends", "EndsTensor", "EndsTensorList")
    steps = int_list(op, inputs, "strides", "StridesTensor", "StridesTensorList") or [1] * len(starts)
    index = [slice(None)] * x.ndim
    for axis, start, end, step in zip(op.attr("axes"), starts, ends, steps, strict=True):
        index[axis] = strided(start, end, step, x.shape[axis])
    out = x[tuple(index)]
    gone = tuple(op.attr("decrease_axis") or ())
    return np.squeeze(out, gone) if gone else out


def _set_value(op: Op, inputs: Inputs) -> np.ndarray:
    x = only(inputs, "Input").copy()
    if op.attr("none_axes"):
        raise ValueError("set_value that changes the rank")
    starts = int_list(op, inputs, "starts", "", "StartsTensorList")
    ends = int_list(op, inputs, "ends", "", "EndsTensorList")
    steps = int_list(op, inputs, "steps", "", "StepsTensorList")
    if inputs.get("ValueTensor"):
        value = inputs["ValueTensor"][0]
    else:
        value = np.array(op.attr("values")).reshape(bounded(op.attr("shape")))
    if value.size > 1:  # an axis that was indexed by one number is missing in the value
        value = np.expand_dims(value, sorted(axis % x.ndim for axis in op.attr("decrease_axes") or ()))
    x[_slices(op, x, starts, ends, steps)] = value.reshape([]) if value.size == 1 else value
    return x


def _squeeze(op: Op, inputs: Inputs) -> np.ndarray:
    x, axes = only(inputs), op.attr("axes") or []
    gone = tuple(axis % x.ndim for axis in axes if x.shape[axis] == 1) if axes else None
    return np.squeeze(x, gone)


def _unsqueeze(op: Op, inputs: Inputs) -> np.ndarray:
    x = only(inputs)
    for axis in int_list(op, inputs, "axes", "AxesTensor", "AxesTensorList"):
        x = np.expand_dims(x, axis)
    return x


def _transpose(op: Op, inputs: Inputs) -> np.ndarray:
    return np.transpose(only(inputs), op.attr("axis"))


def _expand(op: Op, inputs: Inputs) -> np.ndarray:
    x = only(inputs)
    shape = int_list(op, inputs, "shape", "Shape", "expand_shapes_tensor")
    lead = len(shape) - x.ndim
    dims = [x.shape[axis - lead] if size == -1 else size for axis, size in enumerate(shape)]
    return np.broadcast_to(x, bounded(dims))


def _tile(op: Op, inputs: Inputs) -> np.ndarray:
    x, times = only(inputs), int_list(op, inputs, "repeat_times", "RepeatTimes", "repeat_times_tensor")
    rank = max(x.ndim, len(times))
    dims, times = (1,) * (rank - x.ndim) + x.shape, [1] * (rank - len(times)) + times
    bounded([size * time for size, time in zip(dims, times, strict=True)])
    return np.tile(x, times)


def _concat(op: Op, inputs: Inputs) -> np.ndarray:
    axis = int_list(op, inputs, "axis_list", "AxisTensor") if inputs.get("AxisTensor") else [op.attr("axis", 0)]
    return np.concatenate(inputs["X"], axis[0])


def _split(op: Op, inputs: Inputs) -> list[np.ndarray]:
    x, axis = only(inputs), op.attr("axis", 0)
    if inputs.get("AxisTensor") or inputs.get("SectionsTensorList"):
        raise ValueError("split by tensors")
    sections = list(op.attr("sections") or [])
    if not sections:
        return np.split(x, op.attr("num"), axis)
    if -1 in sections:
        sections[sections.index(-1)] = x.shape[axis] - sum(size for size in sections if size != -1)
    return np.split(x, np.cumsum(sections)[:-1], axis)


def _stack(op: Op, inputs: Inputs) -> np.ndarray:
    return np.stack(inputs["X"], op.attr("axis", 0))


def _take(axis_attr: str) -> Rule:
    def rule(op: Op, inputs: Inputs) -> np.ndarray:
        x, index = only(inputs), only(inputs, "Index").reshape(-1)
        axis = int(inputs["Axis"][0].reshape(-1)[0]) if inputs.get("Axis") else op.attr(axis_attr, 0)
        bounded([index.size * (x.size // max(x.shape[axis], 1))])
        return np.take(x, index, axis)

    return rule


def _take_along_axis(op: Op, inputs: Inputs) -> np.ndarray:
    index, axis = inputs["Index"][0], op.attr("Axis", 0)
    return np.take_along_axis(inputs["Input"][0], index.astype(np.int64), axis)


def _roll(op: Op, inputs: Inputs) -> np.ndarray:
    axes = op.attr("axis") or None
    return np.roll(only(inputs), int_list(op, inputs, "shifts", "ShiftsTensor"), axes)


def _diag(op: Op, inputs: Inputs) -> np.ndarray:
    """Converts a list to a diagonal matrix, or returns the diagonal of a matrix."""
    x, offset = only(inputs), op.attr("offset", 0)
    if x.ndim == 2:
        return np.diagonal(x, offset).copy()
    side = x.size + abs(offset)
    bounded([side, side])
    placed = np.diag(np.ones(x.size, bool), offset)
    return np.where(placed, np.diag(x, offset), op.attr("padding_value", 0.0)).astype(x.dtype)


def _triangle(op: Op, inputs: Inputs) -> np.ndarray:
    return (np.tril if op.attr("lower") else np.triu)(only(inputs), op.attr("diagonal", 0))


def _meshgrid(_op: Op, inputs: Inputs) -> list[np.ndarray]:
    bounded([value.size for value in inputs["X"]])
    return [np.ascontiguousarray(value) for value in np.meshgrid(*inputs["X"], indexing="ij")]


def _unstack(op: Op, inputs: Inputs) -> list[np.ndarray]:
    return [np.ascontiguousarray(value) for value in np.moveaxis(only(inputs), op.attr("axis", 0), 0)]


def _flip(op: Op, inputs: Inputs) -> np.ndarray:
    return np.flip(only(inputs), tuple(op.attr("axis"))).copy()


def _where(_op: Op, inputs: Inputs) -> np.ndarray:
    return np.where(only(inputs, "Condition"), only(inputs), only(inputs, "Y"))


RULES: dict[str, Rule] = {
    "reshape2": _reshape,
    "flatten_contiguous_range": _flatten,
    "squeeze2": _squeeze,
    "unsqueeze2": _unsqueeze,
    "transpose2": _transpose,
    "slice": _slice,
    "strided_slice": _slice,
    "set_value": _set_value,
    "concat": _concat,
    "split": _split,
    "stack": _stack,
    "expand_v2": _expand,
    "tile": _tile,
    "gather": _take("axis"),
    "take_along_axis": _take_along_axis,
    "index_select": _take("dim"),
    "roll": _roll,
    "diag_v2": _diag,
    "tril_triu": _triangle,
    "meshgrid": _meshgrid,
    "unstack": _unstack,
    "unbind": _unstack,
    "flip": _flip,
    "where": _where,
}
