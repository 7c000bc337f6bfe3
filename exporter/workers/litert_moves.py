"""LiteRT's forms of ONNX's operators that move elements. Each function writes `graph.node`."""

from __future__ import annotations

import math

import numpy as np
from litert_arithmetic import Rule, alias, common_order
from litert_graph import LiteRtGraph, channels_last


def concat(graph: LiteRtGraph) -> None:
    rank, order = common_order(graph)
    axis = graph.attribute("axis") % rank
    inputs = [graph.read(name, order) for name in graph.node.inputs]
    if graph.node.integer:  # LiteRT's int8 kernel supports only one scale
        wanted = graph.source.roundings[graph.node.outputs[0]]
        for place, name in enumerate(graph.node.inputs):
            has = graph.rounding_of(name) if name in graph.source.held else graph.source.roundings[name]
            if has != wanted:
                shape = graph.file.shape(inputs[place])
                inputs[place] = graph.temporary("QUANTIZE", [inputs[place]], shape, "int8", name, wanted)
    graph.write("CONCATENATION", inputs, order, axis=order.index(axis))


def split(graph: LiteRtGraph) -> None:
    node, x = graph.node, graph.node.inputs[0]
    rank = len(graph.shape(x))
    axis, order = graph.attribute("axis", 0) % rank, graph.order(x)
    sizes = [graph.shape(name)[axis] for name in node.outputs]
    given, place = graph.read(x, order), graph.file.constant("axis", np.int32(order.index(axis)))
    parts = [node.outputs[index] for index in range(len(sizes))]
    rounding = graph.source.roundings.get(x) if node.integer else None
    changed = [index for index, name in enumerate(parts) if graph.source.roundings.get(name) != rounding]
    outputs = [
        graph.file.tensor(f"{name}.part", [graph.shape(name)[one] for one in order], "int8", rounding)
        if node.integer and index in changed
        else graph.output(order, index)
        for index, name in enumerate(parts)
    ]
    if len(set(sizes)) == 1:  # XNNPACK supports only this one
        graph.file.operator("SPLIT", [place, given], outputs, numSplits=len(sizes))
    else:
        graph.file.operator("SPLIT_V", [given, graph.integers(*sizes), place], outputs, numSplits=len(sizes))
    for index in changed if node.integer else ():
        graph.write("QUANTIZE", [outputs[index]], order, index)


def cut(graph: LiteRtGraph) -> None:
    node, x = graph.node, graph.node.inputs[0]
    shape, rank = graph.shape(x), len(graph.shape(x))
    starts, ends = (graph.attribute(name) for name in ("starts", "ends"))
    axes, steps = graph.attribute("axes"), None
    if starts is None:
        starts, ends, axes, steps = (
            graph.required(name, "range").reshape(-1).tolist() if name else None
            for name in (*node.inputs[1:5], *[""] * (5 - len(node.inputs)))
        )
    axes = range(len(starts)) if axes is None else [axis % rank for axis in axes]
    ranges = {
        axis: slice(start, end, step).indices(shape[axis])
        if step > 0 or end >= -shape[axis]
        else (*slice(start, None, step).indices(shape[axis])[:1], -1, step)
        for axis, start, end, step in zip(axes, starts, ends, steps or [1] * len(starts), strict=True)
    }
    order, made = graph.order(x), graph.shape(node.outputs[0])
    begin = [ranges.get(axis, (0,))[0] for axis in order]
    strides = [ranges.get(axis, (0, 0, 1))[2] for axis in order]
    size = [made[axis] for axis in order]
    given = graph.read(x, order)
    if all(step == 1 for step in strides):
        graph.write_unscaled("SLICE", [given, graph.integers(*begin), graph.integers(*size)], x, order)
        return
    last = [first + step * count for first, step, count in zip(begin, strides, size, strict=True)]
    open_ended = sum(1 << place for place, end in enumerate(last) if end < 0)
    last = [max(end, 0) for end in last]
    inputs = [given, graph.integers(*begin), graph.integers(*last), graph.integers(*strides)]
    graph.write_unscaled("STRIDED_SLICE", inputs, x, order, endMask=open_ended)


def pad(graph: LiteRtGraph) -> None:
    node, x = graph.node, graph.node.inputs[0]
    rank, order = len(graph.shape(x)), graph.order(x)
    pads = graph.attribute("pads")
    pads = graph.required(node.inputs[1], "pads").tolist() if pads is None else list(pads)
    mode, dtype = graph.attribute("mode", b"constant").decode(), graph.source.dtypes[x]
    sides = np.array([[pads[axis], pads[axis + rank]] for axis in order], np.int32)
    given, made = graph.read(x, order), [graph.shape(node.outputs[0])[axis] for axis in order]
    if mode == "constant":
        value = graph.attribute("value", 0.0)
        if len(node.inputs) > 2 and node.inputs[2]:
            value = graph.required(node.inputs[2], "value").item()
        if (sides < 0).any():
            before = np.maximum(sides, 0)
            begin = np.maximum(-sides[:, 0], 0)
            shape = [size + sum(side) for size, side in zip(graph.file.shape(given), before.tolist(), strict=True)]
            if before.any():
                given = _filled(graph, given, before, value, dtype, shape)
            graph.write("SLICE", [given, graph.integers(*begin.tolist()), graph.integers(*made)], order)
            return
        inputs = [given, graph.file.constant("pads", sides)]
        if value == 0:
            graph.write("PAD", inputs, order)
        else:
            graph.write("PADV2", [*inputs, graph.file.constant("value", np.array([value], dtype))], order)
        return
    if mode == "reflect" and (sides >= 0).all() and rank <= 4:
        graph.write("MIRROR_PAD", [given, graph.file.constant("pads", sides)], order, mode=0)
        return
    numpy_mode = {"edge": "edge", "reflect": "reflect", "wrap": "wrap"}.get(mode)
    if numpy_mode is None or (sides < 0).any():
        raise graph.unsupported(f"pads of mode {mode}")
    moved = [place for place in range(rank) if sides[place].any()]
    for count, place in enumerate(moved):
        shape = list(graph.file.shape(given))
        taken = np.pad(np.arange(shape[place]), sides[place], mode=numpy_mode)
        inputs = [given, graph.file.constant("places", taken.astype(np.int32))]
        shape[place] = len(taken)
        if count == len(moved) - 1:
            graph.write("GATHER", inputs, order, axis=place)
        else:
            given = graph.temporary("GATHER", inputs, shape, dtype, axis=place)
    if not moved:
        alias(graph)


def _filled(graph: LiteRtGraph, given: int, sides: np.ndarray, value: float, dtype: str, shape: list[int]) -> int:
    inputs = [given, graph.file.constant("pads", sides.astype(np.int32))]
    filled = graph.file.constant("value", np.array([value], dtype))
    return graph.temporary("PADV2", [*inputs, filled], shape, dtype)


def gather(graph: LiteRtGraph) -> None:
    x, index = graph.node.inputs
    axis = graph.attribute("axis", 0) % len(graph.shape(x))
    value = graph.value(index)
    if value is None:
        places = graph.read(index)
    else:
        places = graph.file.constant(index, np.where(value < 0, value + graph.shape(x)[axis], value).astype(np.int32))
    graph.write("GATHER", [graph.read(x), places], axis=axis)


def gather_nd(graph: LiteRtGraph) -> None:
    x, index = graph.node.inputs
    if graph.attribute("batch_dims", 0):
        raise graph.unsupported("places within each image of a batch")
    value = graph.value(index)
    if value is None:
        places = graph.read(index)
    else:
        sizes = np.array(graph.shape(x)[: value.shape[-1]])
        places = graph.file.constant(index, np.where(value < 0, value + sizes, value).astype(np.int32))
    graph.write("GATHER_ND", [graph.read(x), places])


def _flat(graph: LiteRtGraph, name: str) -> int:
    return graph.reshaped(graph.read(name), (math.prod(graph.shape(name)),), name, False)


def gather_elements(graph: LiteRtGraph) -> None:
    """Gathers from the flattened tensor by one list of indices; the index has to be constant."""
    x, index = graph.node.inputs
    places = _elements(graph, graph.required(index, "index"), graph.shape(x), graph.attribute("axis", 0))
    taken = np.arange(math.prod(graph.shape(x))).reshape(graph.shape(x))[places]
    graph.write("GATHER", [_flat(graph, x), graph.file.constant("places", taken.astype(np.int32))])


def scatter(graph: LiteRtGraph) -> None:
    """ScatterElements, ScatterND: selects each element from the data or the updates; the index has to be constant."""
    x, index, updates = graph.node.inputs
    if graph.attribute("reduction", b"none") != b"none":
        raise graph.unsupported("a sum of what is scattered")
    shape, value = graph.shape(x), graph.required(index, "index")
    if graph.node.kind == "ScatterND":
        value = np.where(value < 0, value + np.array(shape[: value.shape[-1]]), value)
        places = tuple(np.moveaxis(value, -1, 0))
    else:
        places = _elements(graph, value, shape, graph.attribute("axis", 0))
    size = math.prod(shape)
    taken = np.arange(size).reshape(shape)
    taken[places] = size + np.arange(math.prod(graph.shape(updates))).reshape(graph.shape(updates))
    whole, dtype = size + math.prod(graph.shape(updates)), graph.source.dtypes[x]
    both = graph.temporary("CONCATENATION", [_flat(graph, x), _flat(graph, updates)], (whole,), dtype, axis=0)
    graph.write("GATHER", [both, graph.file.constant("places", taken.astype(np.int32))])


def _elements(graph: LiteRtGraph, index: np.ndarray, shape, axis: int) -> tuple[np.ndarray, ...]:
    """Converts ONNX's index along one axis to a NumPy index."""
    axis %= len(shape)
    places = list(np.indices(index.shape))
    places[axis] = np.where(index < 0, index + shape[axis], index)
    return tuple(places)


def one_hot(graph: LiteRtGraph) -> None:
    index, depth, values = graph.node.inputs
    off, on = graph.required(values, "values").reshape(-1)
    count = int(graph.required(depth, "depth").item())
    numbers = [graph.file.constant("number", np.array(one)) for one in (on, off)]
    inputs = [graph.read(index), graph.file.constant("depth", np.int32(count)), *numbers]
    graph.write("ONE_HOT", inputs, axis=graph.attribute("axis", -1))


def tile(graph: LiteRtGraph) -> None:
    x, order = graph.node.inputs[0], graph.order(graph.node.inputs[0])
    counts = graph.required(graph.node.inputs[1], "number of repeats").tolist()
    graph.write("TILE", [graph.read(x, order), graph.integers(*(counts[axis] for axis in order))], order)


def expand(graph: LiteRtGraph) -> None:
    x, made = graph.node.inputs[0], graph.shape(graph.node.outputs[0])
    graph.node.inputs = [x]
    rank, order = common_order(graph)
    shape = [made[axis] for axis in order]
    graph.write("BROADCAST_TO", [graph.read(x, order, rank), graph.integers(*shape)], order)


def transpose(graph: LiteRtGraph) -> None:
    """Keeps the stored tensor and renumbers its axes."""
    x = graph.node.inputs[0]
    order = graph.order(x)
    axes = list(graph.attribute("perm", range(len(order))[::-1]))
    if graph.node.integer and graph.source.roundings[x] != graph.source.roundings[graph.node.outputs[0]]:
        graph.write("QUANTIZE", [graph.read(x, order)], tuple(axes.index(axis) for axis in order))
        return
    graph.same(graph.read(x, order), tuple(axes.index(axis) for axis in order))


def reshape(graph: LiteRtGraph) -> None:
    """Keeps the order of groups of axes that become others; within a group, ONNX's order is required."""
    x = graph.node.inputs[0]
    before, after = graph.shape(x), graph.shape(graph.node.outputs[0])
    groups = _groups(before, after)
    of = {axis: index for index, (given, _) in enumerate(groups) for axis in given}
    sequence = list(dict.fromkeys(of[axis] for axis in graph.order(x)))
    sequence += [index for index in range(len(groups)) if index not in sequence]
    order, target = (tuple(axis for index in sequence for axis in groups[index][side]) for side in (0, 1))
    shape = tuple(after[axis] for axis in target)
    options = {"newShape": list(shape)}
    graph.write_unscaled("RESHAPE", [graph.read(x, order), graph.integers(*shape)], x, target, **options)


def _groups(before, after) -> list[tuple[list[int], list[int]]]:
    """The shortest runs of axes of both shapes with equal numbers of elements."""
    groups, i, j = [], 0, 0
    while i < len(before) or j < len(after):
        given, made = list(range(i, min(i + 1, len(before)))), list(range(j, min(j + 1, len(after))))
        i, j = i + len(given), j + len(made)
        while (have := math.prod(before[axis] for axis in given)) != math.prod(after[axis] for axis in made):
            if have < math.prod(after[axis] for axis in made):
                given.append(i)
                i += 1
            else:
                made.append(j)
                j += 1
        groups.append((given, made))
    return groups


def depth_to_space(graph: LiteRtGraph) -> None:
    x = graph.node.inputs[0]
    batch, channels, height, width = graph.shape(x)
    block = graph.attribute("blocksize")
    made = channels // (block * block)
    last = graph.attribute("mode", b"DCR") == b"CRD"
    parts = (batch, made, block, block, height, width) if last else (batch, block, block, made, height, width)
    axes = (0, 4, 2, 5, 3, 1) if last else (0, 4, 1, 5, 2, 3)
    cube = graph.reshaped(graph.read(x), parts, x, False)
    moved = graph.moved(cube, list(axes), x, False)
    shape = (batch, height * block, width * block, made)
    graph.write("RESHAPE", [moved, graph.integers(*shape)], channels_last(4), newShape=list(shape))


def space_to_depth(graph: LiteRtGraph) -> None:
    x = graph.node.inputs[0]
    batch, channels, height, width = graph.shape(x)
    block = graph.attribute("blocksize")
    parts = (batch, height // block, block, width // block, block, channels)
    cube = graph.reshaped(graph.read(x, channels_last(4)), parts, x, False)
    moved = graph.moved(cube, [0, 1, 3, 2, 4, 5], x, False)
    shape = (batch, height // block, width // block, channels * block * block)
    graph.write("RESHAPE", [moved, graph.integers(*shape)], channels_last(4), newShape=list(shape))


RULES: dict[str, Rule] = {
    "Concat": concat, "DepthToSpace": depth_to_space, "Dropout": alias, "Expand": expand, "Flatten": reshape,
    "Gather": gather, "GatherElements": gather_elements, "GatherND": gather_nd, "Identity": alias, "OneHot": one_hot,
    "Pad": pad, "Reshape": reshape, "ScatterElements": scatter, "ScatterND": scatter, "Slice": cut,
    "SpaceToDepth": space_to_depth, "Split": split, "Squeeze": reshape, "Tile": tile, "Transpose": transpose,
    "Unsqueeze": reshape,
}  # fmt: skip
