"""LiteRT's form of every other ONNX operator. Each function writes `graph.node`."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from litert_file import TensorRounding
from litert_graph import LiteRtGraph, Order, channels_last, plain
from litert_source import OnnxSource, SourceNode
from litert_windows import RULES as WINDOWS

Rule = Callable[[LiteRtGraph], None]


# -- element by element ---------------------------------------------------------------------------------------------


def _common(graph: LiteRtGraph) -> tuple[int, Order]:
    """Number of axes and their order, in which all inputs of an operator on elements are read."""
    rank = len(graph.shape(graph.node.outputs[0]))
    for name in graph.node.inputs:
        if graph.value(name) is None and len(graph.shape(name)) == rank:
            return rank, graph.order(name)
    return rank, plain(rank)


def elements(kind: str, **options) -> Rule:
    """Of one input or of several, which are broadcast."""

    def rule(graph: LiteRtGraph) -> None:
        rank, order = _common(graph)
        inputs = [graph.read(name, order, rank) for name in graph.node.inputs]
        graph.write(kind, inputs, order, **options)

    return rule


def chain(kind: str, *, mean: bool = False) -> Rule:
    """Of any number of inputs, two at a time; `mean`: divided by their number."""

    def rule(graph: LiteRtGraph) -> None:
        names = graph.node.inputs
        if len(names) == 1:
            return alias(graph)
        rank, order = _common(graph)
        total, *others, last = [graph.read(name, order, rank) for name in names]
        shape, dtype = [graph.shape(graph.node.outputs[0])[axis] for axis in order], graph.source.dtypes[names[0]]
        for other in others:
            total = graph.temporary(kind, [total, other], shape, dtype)
        if not mean:
            graph.write(kind, [total, last], order)
            return None
        total = graph.temporary(kind, [total, last], shape, dtype)
        share = graph.file.constant("share", np.array([1 / len(names)], np.float32))
        graph.write("MUL", [total, share], order)
        return None

    return rule


class _Steps:
    """Several operators on the elements of one input, as arithmetic."""

    def __init__(self, graph: LiteRtGraph) -> None:
        self._graph, name = graph, graph.node.inputs[0]
        self.order = graph.order(name)
        self._shape = [graph.shape(name)[axis] for axis in self.order]
        self.x = graph.read(name, self.order)

    def __call__(self, kind: str, *inputs: int | float, last: bool = False) -> int:
        given = [self.number(one) if isinstance(one, float) else one for one in inputs]
        if last:
            return self._graph.write(kind, given, self.order)
        return self._graph.temporary(kind, given, self._shape)

    def number(self, value: float) -> int:
        return self._graph.file.constant("number", np.array([value], np.float32))


def clip(graph: LiteRtGraph) -> None:
    node = graph.node
    limits = [graph.attribute("min"), graph.attribute("max")]
    for place, name in enumerate(node.inputs[1:3]):
        if name:
            limits[place] = graph.required(name, "limit").item()
    low, high = limits
    node.inputs = node.inputs[:1]
    known = {(0, None): "RELU", (0, 6): "RELU6", (-1, 1): "RELU_N1_TO_1", (0, 1): "RELU_0_TO_1"}
    low = None if low is not None and low <= np.finfo(np.float32).min else low
    high = None if high is not None and high >= np.finfo(np.float32).max else high
    if (low, high) in known and graph.source.dtypes[node.inputs[0]] == "float32":
        return elements(known[low, high])(graph)
    order = graph.order(node.inputs[0])
    given, dtype = graph.read(node.inputs[0], order), graph.source.dtypes[node.inputs[0]]
    parts = [(kind, limit) for kind, limit in (("MAXIMUM", low), ("MINIMUM", high)) if limit is not None]
    shape = [graph.shape(node.inputs[0])[axis] for axis in order]
    for index, (kind, limit) in enumerate(parts):
        inputs = [given, graph.file.constant("limit", np.array([limit], dtype))]
        if index < len(parts) - 1:
            given = graph.temporary(kind, inputs, shape, dtype)
        else:
            graph.write(kind, inputs, order)
    if not parts:
        alias(graph)
    return None


def hard_sigmoid(graph: LiteRtGraph) -> None:
    steps = _Steps(graph)
    scaled = steps("MUL", steps.x, float(graph.attribute("alpha", 0.2)))
    steps("RELU_0_TO_1", steps("ADD", scaled, float(graph.attribute("beta", 0.5))), last=True)


def _softplus(steps: _Steps, *, last: bool = False) -> int:
    """max(x, 0) + log(1 + exp(-|x|)): nothing in it grows without bound."""
    small = steps("EXP", steps("NEG", steps("ABS", steps.x)))
    return steps("ADD", steps("RELU", steps.x), steps("LOG", steps("ADD", small, 1.0)), last=last)


def softplus(graph: LiteRtGraph) -> None:
    _softplus(_Steps(graph), last=True)


def mish(graph: LiteRtGraph) -> None:
    steps = _Steps(graph)
    steps("MUL", steps.x, steps("TANH", _softplus(steps)), last=True)


def erf(graph: LiteRtGraph) -> None:
    """Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26: off by 1.5e-7 at most."""
    steps = _Steps(graph)
    size = steps("ABS", steps.x)
    t = steps("DIV", steps.number(1.0), steps("ADD", steps("MUL", size, 0.3275911), 1.0))
    total = steps("MUL", t, 1.061405429)
    for factor in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
        total = steps("MUL", steps("ADD", total, factor), t)
    bell = steps("EXP", steps("NEG", steps("MUL", steps.x, steps.x)))
    positive = steps("SUB", steps.number(1.0), steps("MUL", total, bell))
    steps("MUL", steps("SIGN", steps.x), positive, last=True)


def reciprocal(graph: LiteRtGraph) -> None:
    steps = _Steps(graph)
    steps("DIV", steps.number(1.0), steps.x, last=True)


def softsign(graph: LiteRtGraph) -> None:
    steps = _Steps(graph)
    steps("DIV", steps.x, steps("ADD", steps("ABS", steps.x), 1.0), last=True)


def elu(graph: LiteRtGraph) -> None:
    if graph.attribute("alpha", 1.0) != 1.0:
        raise graph.unsupported(f"alpha {graph.attribute('alpha')}, LiteRT's is 1")
    elements("ELU")(graph)


def leaky_relu(graph: LiteRtGraph) -> None:
    elements("LEAKY_RELU", alpha=float(graph.attribute("alpha", 0.01)))(graph)


def p_relu(graph: LiteRtGraph) -> None:
    x, slope = graph.node.inputs
    rank = len(graph.shape(x))
    order = graph.order(x)
    value = graph.required(slope, "slope")
    value = value.reshape((1,) * (rank - value.ndim) + value.shape).transpose(order)
    if value.shape[0] != 1:
        raise graph.unsupported("a slope for each image of the batch")
    graph.write("PRELU", [graph.read(x, order), graph.constant(value[0], slope)], order)


def power(graph: LiteRtGraph) -> None:
    x, exponent = graph.node.inputs
    value = graph.value(exponent)
    kinds = {2.0: "SQUARE", 0.5: "SQRT", -0.5: "RSQRT"}
    if value is not None and value.size == 1 and float(value.item()) in kinds:
        graph.node.inputs = [x]
        return elements(kinds[float(value.item())])(graph)
    return elements("POW")(graph)


def cast(graph: LiteRtGraph) -> None:
    before, after = (graph.source.dtypes[one] for one in (graph.node.inputs[0], graph.node.outputs[0]))
    wide = {"int64": "int32", "float64": "float32"}
    if wide.get(before, before) == wide.get(after, after):
        return alias(graph)
    return elements("CAST")(graph)


def batch_norm(graph: LiteRtGraph) -> None:
    x, *names = graph.node.inputs
    scale, bias, mean, variance = (graph.required(name, "statistics").astype(np.float64) for name in names)
    factor = scale / np.sqrt(variance + graph.attribute("epsilon", 1e-5))
    order = graph.order(x)
    shape = [graph.shape(x)[axis] for axis in order]
    along = tuple(-1 if axis == 1 else 1 for axis in order)
    factor, offset = (one.astype(np.float32).reshape(along) for one in (factor, bias - mean * factor))
    scaled = graph.temporary("MUL", [graph.read(x, order), graph.constant(factor, f"{x}.factor")], shape)
    graph.write("ADD", [scaled, graph.constant(offset, f"{x}.offset")], order)


def _normalized(
    graph: LiteRtGraph, axes: list[int], epsilon: float, factor: np.ndarray, offset: np.ndarray | None
) -> None:
    """(x - mean) / sqrt(variance + epsilon) * factor + offset, over some axes."""
    x = graph.node.inputs[0]
    order = graph.order(x)
    full = [graph.shape(x)[axis] for axis in order]
    where = graph.integers(*(order.index(axis) for axis in axes))
    few = [1 if axis in axes else graph.shape(x)[axis] for axis in order]
    given = graph.read(x, order)
    mean = graph.temporary("MEAN", [given, where], few, keepDims=True)
    centred = graph.temporary("SUB", [given, mean], full)
    variance = graph.temporary("MEAN", [graph.temporary("SQUARE", [centred], full), where], few, keepDims=True)
    small = graph.file.constant("epsilon", np.array([epsilon], np.float32))
    inverse = graph.temporary("RSQRT", [graph.temporary("ADD", [variance, small], few)], few)
    scaled = graph.temporary("MUL", [centred, inverse], full)
    factor = graph.constant(factor.transpose(order), f"{x}.factor")
    if offset is None:
        graph.write("MUL", [scaled, factor], order)
        return
    scaled = graph.temporary("MUL", [scaled, factor], full)
    graph.write("ADD", [scaled, graph.constant(offset.transpose(order), f"{x}.offset")], order)


def instance_norm(graph: LiteRtGraph) -> None:
    rank = len(graph.shape(graph.node.inputs[0]))
    along = (1, -1, *[1] * (rank - 2))
    factor, offset = (graph.required(name, "scale").reshape(along) for name in graph.node.inputs[1:])
    _normalized(graph, list(range(2, rank)), graph.attribute("epsilon", 1e-5), factor, offset)


def layer_norm(graph: LiteRtGraph) -> None:
    x, *names = graph.node.inputs
    rank = len(graph.shape(x))
    axis = graph.attribute("axis", -1) % rank
    values = [graph.required(name, "scale") for name in names if name]
    values = [value.reshape((1,) * (rank - value.ndim) + value.shape) for value in values]
    offset = values[1] if len(values) > 1 else None
    _normalized(graph, list(range(axis, rank)), graph.attribute("epsilon", 1e-5), values[0], offset)


# -- along axes -----------------------------------------------------------------------------------------------------


def _axes(graph: LiteRtGraph) -> list[int]:
    """The axes of a reduction or a squeeze: an attribute up to opset 12 or 17, then an input."""
    rank = len(graph.shape(graph.node.inputs[0]))
    axes = graph.attribute("axes")
    if axes is None and len(graph.node.inputs) > 1 and graph.node.inputs[1]:
        axes = graph.required(graph.node.inputs[1], "axes").reshape(-1).tolist()
    if not axes:
        axes = [] if graph.attribute("noop_with_empty_axes", 0) else list(range(rank))
    return sorted(axis % rank for axis in axes)


def _left(order: Order, axes: list[int]) -> Order:
    """The order of the axes that are left when some are dropped."""
    kept = [axis for axis in order if axis not in axes]
    return tuple(sorted(kept).index(axis) for axis in kept)


def reduction(kind: str) -> Rule:
    def rule(graph: LiteRtGraph) -> None:
        x, axes, keeps = graph.node.inputs[0], _axes(graph), bool(graph.attribute("keepdims", 1))
        order = graph.order(x)
        where = graph.integers(*(order.index(axis) for axis in axes))
        graph.write(kind, [graph.read(x, order), where], order if keeps else _left(order, axes), keepDims=keeps)

    return rule


def norm(squared: bool) -> Rule:
    """ReduceL1 or ReduceL2."""

    def rule(graph: LiteRtGraph) -> None:
        steps, axes, keeps = _Steps(graph), _axes(graph), bool(graph.attribute("keepdims", 1))
        where = graph.integers(*(steps.order.index(axis) for axis in axes))
        order = steps.order if keeps else _left(steps.order, axes)
        given = steps("SQUARE" if squared else "ABS", steps.x)
        if not squared:
            graph.write("SUM", [given, where], order, keepDims=keeps)
            return
        shape = [graph.shape(graph.node.outputs[0])[axis] for axis in order]
        graph.write("SQRT", [graph.temporary("SUM", [given, where], shape, keepDims=keeps)], order)

    return rule


def global_pool(kind: str) -> Rule:
    def rule(graph: LiteRtGraph) -> None:
        x = graph.node.inputs[0]
        order = graph.order(x)
        where = graph.integers(*(order.index(axis) for axis in range(2, len(order))))
        inputs = [graph.read(x, order), where]
        if kind == "MEAN":
            graph.write(kind, inputs, order, keepDims=True)
        else:
            graph.write_unscaled(kind, inputs, x, order, keepDims=True)

    return rule


def softmax(kind: str, **options) -> Rule:
    def rule(graph: LiteRtGraph) -> None:
        x, rank = graph.node.inputs[0], len(graph.shape(graph.node.inputs[0]))
        axis = graph.attribute("axis", -1) % rank
        order = graph.order(x)
        if order[-1] != axis:
            order = (*(one for one in order if one != axis), axis)
        graph.write(kind, [graph.read(x, order)], order, **options)

    return rule


def arg(kind: str) -> Rule:
    def rule(graph: LiteRtGraph) -> None:
        x, node = graph.node.inputs[0], graph.node
        if graph.attribute("select_last_index", 0):
            raise graph.unsupported("the last of equal elements is asked for")
        axis = graph.attribute("axis", 0) % len(graph.shape(x))
        order = graph.order(x)
        left = _left(order, [axis])
        inputs = [graph.read(x, order), graph.integers(order.index(axis))]
        if not graph.attribute("keepdims", 1):
            graph.write(kind, inputs, left, outputType=_INT32)
            return
        shape = [graph.shape(x)[one] for one in order if one != axis]
        found = graph.temporary(kind, inputs, shape, "int32", outputType=_INT32)
        whole = tuple(graph.shape(node.outputs[0])[one] for one in order)
        graph.write("RESHAPE", [found, graph.integers(*whole)], order, newShape=list(whole))

    return rule


_INT32 = 2  # of the schema's TensorType


def concat(graph: LiteRtGraph) -> None:
    rank, order = _common(graph)
    axis = graph.attribute("axis") % rank
    inputs = [graph.read(name, order) for name in graph.node.inputs]
    if graph.node.integer:  # LiteRT's int8 kernel takes one scale only
        wanted = graph.source.roundings[graph.node.outputs[0]]
        for place, name in enumerate(graph.node.inputs):
            held = graph.source.held.get(name)
            has = TensorRounding((float(held.scales[0]),), held.zero) if held else graph.source.roundings[name]
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
    outputs = [graph.output(order, index) for index in range(len(sizes))]
    if len(set(sizes)) == 1:  # XNNPACK takes this one only
        graph.file.operator("SPLIT", [place, given], outputs, numSplits=len(sizes))
    else:
        graph.file.operator("SPLIT_V", [given, graph.integers(*sizes), place], outputs, numSplits=len(sizes))


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


def tile(graph: LiteRtGraph) -> None:
    x, order = graph.node.inputs[0], graph.order(graph.node.inputs[0])
    counts = graph.required(graph.node.inputs[1], "number of repeats").tolist()
    graph.write("TILE", [graph.read(x, order), graph.integers(*(counts[axis] for axis in order))], order)


def expand(graph: LiteRtGraph) -> None:
    x, made = graph.node.inputs[0], graph.shape(graph.node.outputs[0])
    graph.node.inputs = [x]
    rank, order = _common(graph)
    shape = [made[axis] for axis in order]
    graph.write("BROADCAST_TO", [graph.read(x, order, rank), graph.integers(*shape)], order)


def cumsum(graph: LiteRtGraph) -> None:
    x, axis = graph.node.inputs
    order, rank = graph.order(x), len(graph.shape(x))
    place = order.index(int(graph.required(axis, "axis").item()) % rank)
    options = {"exclusive": bool(graph.attribute("exclusive", 0)), "reverse": bool(graph.attribute("reverse", 0))}
    graph.write("CUMSUM", [graph.read(x, order), graph.file.constant("axis", np.int32(place))], order, **options)


# -- that move elements only ----------------------------------------------------------------------------------------


def alias(graph: LiteRtGraph) -> None:
    """The output is the input."""
    x = graph.node.inputs[0]
    order = graph.order(x)
    graph.same(graph.read(x, order), order)


def transpose(graph: LiteRtGraph) -> None:
    """The same stored tensor; its axes have other numbers."""
    x = graph.node.inputs[0]
    order = graph.order(x)
    axes = list(graph.attribute("perm", range(len(order))[::-1]))
    if graph.node.integer and graph.source.roundings[x] != graph.source.roundings[graph.node.outputs[0]]:
        graph.write("QUANTIZE", [graph.read(x, order)], tuple(axes.index(axis) for axis in order))
        return
    graph.same(graph.read(x, order), tuple(axes.index(axis) for axis in order))


def reshape(graph: LiteRtGraph) -> None:
    """Groups of axes that become others stay where they are; only the order within a group has to be ONNX's."""
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
    """Runs of axes of both shapes with the same number of elements, as short as can be."""
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


def quantize(graph: LiteRtGraph) -> None:
    x = graph.node.inputs[0]
    order = graph.order(x)
    given = graph.read(x, order)
    graph.node.integer = True  # what it writes, where it reads floats
    graph.write("QUANTIZE", [given], order)


RULES: dict[str, Rule] = {
    **WINDOWS,
    **{
        one: elements(kind)
        for one, kind in {
            "Abs": "ABS", "Add": "ADD", "And": "LOGICAL_AND", "Ceil": "CEIL", "Cos": "COS", "Div": "DIV",
            "Equal": "EQUAL", "Exp": "EXP", "Floor": "FLOOR", "Gelu": "GELU", "Greater": "GREATER",
            "GreaterOrEqual": "GREATER_EQUAL", "HardSwish": "HARD_SWISH", "Less": "LESS",
            "LessOrEqual": "LESS_EQUAL", "Log": "LOG", "Mod": "FLOOR_MOD", "Mul": "MUL", "Neg": "NEG",
            "Not": "LOGICAL_NOT", "Or": "LOGICAL_OR", "Relu": "RELU", "Round": "ROUND", "Sigmoid": "LOGISTIC",
            "Sign": "SIGN", "Sin": "SIN", "Sqrt": "SQRT", "Sub": "SUB", "Tanh": "TANH", "Where": "SELECT_V2",
        }.items()
    },
    **{
        f"Reduce{one}": reduction(kind)
        for one, kind in {
            "Mean": "MEAN", "Sum": "SUM", "Max": "REDUCE_MAX", "Min": "REDUCE_MIN", "Prod": "REDUCE_PROD",
        }.items()
    },
    "ArgMax": arg("ARG_MAX"), "ArgMin": arg("ARG_MIN"), "BatchNormalization": batch_norm, "Cast": cast, "Clip": clip,
    "Concat": concat, "CumSum": cumsum, "DepthToSpace": depth_to_space, "Dropout": alias, "Elu": elu, "Erf": erf,
    "Expand": expand, "Flatten": reshape, "Gather": gather, "GlobalAveragePool": global_pool("MEAN"),
    "GlobalMaxPool": global_pool("REDUCE_MAX"), "HardSigmoid": hard_sigmoid, "Identity": alias,
    "InstanceNormalization": instance_norm, "LayerNormalization": layer_norm, "LeakyRelu": leaky_relu,
    "LogSoftmax": softmax("LOG_SOFTMAX"), "Max": chain("MAXIMUM"), "Mean": chain("ADD", mean=True),
    "Min": chain("MINIMUM"), "Mish": mish, "PRelu": p_relu, "Pad": pad, "Pow": power, "QuantizeLinear": quantize,
    "Reciprocal": reciprocal, "ReduceL1": norm(squared=False), "ReduceL2": norm(squared=True), "Reshape": reshape,
    "Slice": cut, "Softmax": softmax("SOFTMAX", beta=1.0), "Softplus": softplus, "Softsign": softsign,
    "SpaceToDepth": space_to_depth, "Split": split, "Squeeze": reshape, "Sum": chain("ADD"), "Tile": tile,
    "Transpose": transpose, "Unsqueeze": reshape,
}  # fmt: skip

# What LiteRT computes in int8 with any scale of its input and output, or with the same one.
INTEGER = frozenset(
    {
        "Add", "AveragePool", "Concat", "Conv", "ConvTranspose", "Gemm", "GlobalAveragePool", "GlobalMaxPool",
        "HardSwish", "MatMul", "MaxPool", "Mul", "Relu", "Reshape", "Resize", "Slice", "Sub", "Transpose", "Squeeze",
        "Unsqueeze",
    }
)  # fmt: skip


def write(source: OnnxSource, precision: str, channels_last_ends: frozenset[str]) -> tuple[LiteRtGraph, dict, dict]:
    """Writes every operator.

    Args:
        channels_last_ends: Inputs and outputs that the file has in the order [N, H, W, C].

    Returns:
        The graph, and the tensors of its inputs and outputs by name.
    """
    graph = LiteRtGraph(source, precision)
    inputs = {}
    for name in source.inputs:
        shape = graph.shape(name)
        order = channels_last(len(shape)) if name in channels_last_ends else plain(len(shape))
        graph.node = SourceNode("Input", [], [name], {})
        inputs[name] = graph.output(order)
    for node in source.nodes:
        graph.node = node
        if node.kind not in RULES:
            raise graph.unsupported("LiteRT has no such operator")
        RULES[node.kind](graph)
    outputs = {}
    for name, tensor in source.outputs.items():
        graph.node = SourceNode("Output", [tensor], [f"{name}.end"], {})
        rank = len(graph.shape(tensor))
        order = channels_last(rank) if name in channels_last_ends else plain(rank)
        outputs[name] = _ended(graph, name, tensor, order, taken=[*inputs.values(), *outputs.values()])
    return graph, inputs, outputs


def _ended(graph: LiteRtGraph, name: str, tensor: str, order: Order, taken: list[int]) -> int:
    """An output's tensor; a copy where it is another end of the model too, and integers in place of booleans."""
    index = graph.read(tensor, order)
    shape = graph.file.shape(index)
    dtype = "float32" if tensor in graph.source.roundings else graph.source.dtypes[tensor]
    if dtype == "bool":
        return graph.temporary("CAST", [index], shape, "int32", name)
    if index in taken or tensor in graph.source.constants:
        inputs = [index, graph.integers(*shape)]
        return graph.temporary("RESHAPE", inputs, shape, dtype, name, newShape=list(shape))
    return index
