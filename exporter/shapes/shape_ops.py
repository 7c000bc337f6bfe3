"""Shape rules for operators that rearrange values: reshape, concat, slice, tile."""

from __future__ import annotations

from math import prod

from segexport.exporter.evaluate.rule import strided
from segexport.exporter.shapes.context import Context, Dims, NoRule, Rule


def _reshape(context: Context) -> Dims:
    dims, shape = context.dims(), context.integers("shape", "Shape", "ShapeTensor")
    out = [dims[axis] if size == 0 else size for axis, size in enumerate(shape)]
    if -1 in dims:
        return tuple(out)
    total, known = prod(dims), prod(size for size in out if size != -1)
    if -1 in out:
        if out.count(-1) > 1:
            return tuple(out)
        if known == 0 or total % known:
            raise ValueError(f"{list(dims)} cannot become {shape}")
        out[out.index(-1)] = total // known
    elif known != total:
        raise ValueError(f"{list(dims)} cannot become {shape}: the export fixed this size")
    return tuple(out)


def _flatten(context: Context) -> Dims:
    dims = context.dims()
    start, stop = context.op.attr("start_axis", 1) % len(dims), context.op.attr("stop_axis", -1) % len(dims)
    middle = dims[start : stop + 1]
    return (*dims[:start], -1 if -1 in middle else prod(middle), *dims[stop + 1 :])


def _transpose(context: Context) -> Dims:
    dims = context.dims()
    return tuple(dims[axis] for axis in context.op.attr("axis"))


def _squeeze(context: Context) -> Dims:
    dims = context.dims()
    axes = context.op.attr("axes") or [axis for axis, size in enumerate(dims) if size == 1]
    gone = {axis % len(dims) for axis in axes if dims[axis] == 1}
    return tuple(size for axis, size in enumerate(dims) if axis not in gone)


def _unsqueeze(context: Context) -> Dims:
    dims = list(context.dims())
    for axis in context.integers("axes", "AxesTensor", "AxesTensorList"):
        dims.insert(axis if axis >= 0 else len(dims) + 1 + axis, 1)
    return tuple(dims)


def _concat(context: Context) -> Dims:
    all_dims = context.all_dims()
    if context.op.input("AxisTensor"):
        raise NoRule
    axis = context.op.attr("axis", 0) % len(all_dims[0])
    out = list(all_dims[0])
    for dims in all_dims[1:]:
        for other, size in enumerate(dims):
            if other == axis:
                out[axis] = -1 if -1 in (out[axis], size) else out[axis] + size
            elif -1 not in (out[other], size) and out[other] != size:
                raise ValueError(f"{[list(d) for d in all_dims]} cannot be joined along axis {axis}")
            else:
                out[other] = max(out[other], size)
    return tuple(out)


def _split(context: Context) -> list[Dims]:
    dims, op = context.dims(), context.op
    if op.input("AxisTensor") or op.inputs.get("SectionsTensorList"):
        raise NoRule
    axis, number = op.attr("axis", 0) % len(dims), len(op.outputs["Out"])
    sections = list(op.attr("sections") or [])
    if not sections:
        if dims[axis] % number and dims[axis] != -1:
            raise ValueError(f"{dims[axis]} into {number} parts")
        sections = [-1 if dims[axis] < 0 else dims[axis] // number] * number
    elif -1 in sections and dims[axis] >= 0:
        sections[sections.index(-1)] = dims[axis] - sum(size for size in sections if size != -1)
    return [(*dims[:axis], size, *dims[axis + 1 :]) for size in sections]


def _stack(context: Context) -> Dims:
    dims = context.dims()
    axis = context.op.attr("axis", 0)
    axis += len(dims) + 1 if axis < 0 else 0
    return (*dims[:axis], len(context.op.inputs["X"]), *dims[axis:])


def _slice(context: Context) -> Dims:
    op, dims = context.op, list(context.dims("Input"))
    axes = op.attr("axes")
    tensors = [slot for slot in op.inputs if slot != "Input" and op.inputs[slot]]
    if any(name not in context.values for slot in tensors for name in op.inputs[slot]):
        for axis in axes:
            dims[axis] = -1
    else:
        starts = context.integers("starts", "StartsTensor", "StartsTensorList")
        ends = context.integers("ends", "EndsTensor", "EndsTensorList")
        steps = context.integers("strides", "StridesTensor", "StridesTensorList") or [1] * len(axes)
        for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
            if dims[axis] >= 0:
                dims[axis] = len(range(*strided(start, end, step, dims[axis]).indices(dims[axis])))
            elif start >= 0 and 0 <= end < 1 << 30 and step == 1 and axis in (op.attr("decrease_axis") or []):
                dims[axis] = end - start
    gone = {axis % len(dims) for axis in op.attr("decrease_axis") or []}
    return tuple(size for axis, size in enumerate(dims) if axis not in gone)


def _expand(context: Context) -> Dims:
    dims, shape = context.dims(), context.integers("shape", "Shape", "expand_shapes_tensor")
    lead = len(shape) - len(dims)
    given = context.op.inputs.get("expand_shapes_tensor") or [context.op.input("Shape") or ""] * len(shape)
    out = []
    for axis, (size, name) in enumerate(zip(shape, given, strict=True)):
        copies = size == -1 and axis >= lead and (not name or name in context.values)  # else -1: unknown
        out.append(dims[axis - lead] if copies else size)
    return tuple(out)


def _expand_as(context: Context) -> Dims:
    return context.dims("Y") if context.op.input("Y") else tuple(context.op.attr("target_shape"))


def _tile(context: Context) -> Dims:
    dims, times = context.dims(), context.integers("repeat_times", "RepeatTimes", "repeat_times_tensor")
    rank = max(len(dims), len(times))
    pairs = zip((1,) * (rank - len(dims)) + dims, [1] * (rank - len(times)) + times, strict=True)
    return tuple(-1 if -1 in (size, time) else size * time for size, time in pairs)


RULES: dict[str, Rule] = {
    **dict.fromkeys(("reshape2", "reshape"), _reshape),
    **dict.fromkeys(("transpose2", "transpose"), _transpose),
    **dict.fromkeys(("slice", "strided_slice"), _slice),
    "flatten_contiguous_range": _flatten,
    "squeeze2": _squeeze,
    "unsqueeze2": _unsqueeze,
    "concat": _concat,
    "split": _split,
    "stack": _stack,
    "expand_v2": _expand,
    "expand_as_v2": _expand_as,
    "tile": _tile,
}
