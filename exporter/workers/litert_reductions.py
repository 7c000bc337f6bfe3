"""LiteRT's forms of ONNX's operators along axes: norms, reductions, softmax. Each function writes `graph.node`."""

from __future__ import annotations

import numpy as np
from litert_arithmetic import Rule, Steps, axes_of, left_over
from litert_graph import LiteRtGraph

_INT32 = 2  # value in the schema's TensorType


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


def normalized(graph: LiteRtGraph) -> None:
    """LpNormalization: x / |x| along an axis."""
    steps, x = Steps(graph), graph.node.inputs[0]
    axis = graph.attribute("axis", -1) % len(graph.shape(x))
    squared = graph.attribute("p", 2) == 2
    few = [1 if one == axis else graph.shape(x)[one] for one in steps.order]
    inputs = [steps("SQUARE" if squared else "ABS", steps.x), graph.integers(steps.order.index(axis))]
    length = graph.temporary("SUM", inputs, few, keepDims=True)
    length = graph.temporary("SQRT", [length], few) if squared else length
    steps("DIV", steps.x, length, last=True)


def reduction(kind: str) -> Rule:
    def rule(graph: LiteRtGraph) -> None:
        x, axes, keeps = graph.node.inputs[0], axes_of(graph), bool(graph.attribute("keepdims", 1))
        order = graph.order(x)
        where = graph.integers(*(order.index(axis) for axis in axes))
        graph.write(kind, [graph.read(x, order), where], order if keeps else left_over(order, axes), keepDims=keeps)

    return rule


def norm(squared: bool) -> Rule:
    """The rule for ReduceL1 or ReduceL2."""

    def rule(graph: LiteRtGraph) -> None:
        steps, axes, keeps = Steps(graph), axes_of(graph), bool(graph.attribute("keepdims", 1))
        where = graph.integers(*(steps.order.index(axis) for axis in axes))
        order = steps.order if keeps else left_over(steps.order, axes)
        given = steps("SQUARE" if squared else "ABS", steps.x)
        if not squared:
            graph.write("SUM", [given, where], order, keepDims=keeps)
            return
        shape = [graph.shape(graph.node.outputs[0])[axis] for axis in order]
        graph.write("SQRT", [graph.temporary("SUM", [given, where], shape, keepDims=keeps)], order)

    return rule


def log_sum_exp(graph: LiteRtGraph) -> None:
    """Subtracts the largest value first, so that no exponent is above zero."""
    steps, axes, keeps = Steps(graph), axes_of(graph), bool(graph.attribute("keepdims", 1))
    where = graph.integers(*(steps.order.index(axis) for axis in axes))
    few = [1 if axis in axes else graph.shape(graph.node.inputs[0])[axis] for axis in steps.order]
    largest = graph.temporary("REDUCE_MAX", [steps.x, where], few, keepDims=True)
    total = graph.temporary("SUM", [steps("EXP", steps("SUB", steps.x, largest)), where], few, keepDims=True)
    found = graph.temporary("ADD", [graph.temporary("LOG", [total], few), largest], few)
    order = steps.order if keeps else left_over(steps.order, axes)
    shape = [graph.shape(graph.node.outputs[0])[axis] for axis in order]
    graph.same(graph.reshaped(found, tuple(shape), graph.node.outputs[0], False), order)


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
        left = left_over(order, [axis])
        inputs = [graph.read(x, order), graph.integers(order.index(axis))]
        if not graph.attribute("keepdims", 1):
            graph.write(kind, inputs, left, outputType=_INT32)
            return
        shape = [graph.shape(x)[one] for one in order if one != axis]
        found = graph.temporary(kind, inputs, shape, "int32", outputType=_INT32)
        whole = tuple(graph.shape(node.outputs[0])[one] for one in order)
        graph.write("RESHAPE", [found, graph.integers(*whole)], order, newShape=list(whole))

    return rule


def top_k(graph: LiteRtGraph) -> None:
    x, count = graph.node.inputs
    rank = len(graph.shape(x))
    axis, number = graph.attribute("axis", -1) % rank, int(graph.required(count, "number").item())
    order = (*(one for one in graph.order(x) if one != axis), axis)
    given, dtype = graph.read(x, order), graph.source.dtypes[x]
    smallest = not graph.attribute("largest", 1)
    if smallest and dtype != "float32":
        raise graph.unsupported("the smallest of integers")
    if smallest:
        given = graph.temporary("NEG", [given], graph.file.shape(given))
    shape = [graph.shape(graph.node.outputs[0])[one] for one in order]
    values = graph.file.tensor(f"{graph.node.outputs[0]}.values", tuple(shape), dtype)
    places = graph.output(order, 1)
    graph.file.operator("TOPK_V2", [given, graph.file.constant("count", np.int32(number))], [values, places])
    if smallest:
        graph.write("NEG", [values], order)
    else:
        graph.same(values, order)


def cumsum(graph: LiteRtGraph) -> None:
    x, axis = graph.node.inputs
    order, rank = graph.order(x), len(graph.shape(x))
    place = order.index(int(graph.required(axis, "axis").item()) % rank)
    options = {"exclusive": bool(graph.attribute("exclusive", 0)), "reverse": bool(graph.attribute("reverse", 0))}
    graph.write("CUMSUM", [graph.read(x, order), graph.file.constant("axis", np.int32(place))], order, **options)


RULES: dict[str, Rule] = {
    **{
        f"Reduce{one}": reduction(kind)
        for one, kind in {
            "Mean": "MEAN", "Sum": "SUM", "Max": "REDUCE_MAX", "Min": "REDUCE_MIN", "Prod": "REDUCE_PROD",
        }.items()
    },
    "ArgMax": arg("ARG_MAX"), "ArgMin": arg("ARG_MIN"), "BatchNormalization": batch_norm, "CumSum": cumsum,
    "GlobalAveragePool": global_pool("MEAN"), "GlobalMaxPool": global_pool("REDUCE_MAX"),
    "InstanceNormalization": instance_norm, "LayerNormalization": layer_norm, "LogSoftmax": softmax("LOG_SOFTMAX"),
    "LpNormalization": normalized, "ReduceL1": norm(squared=False), "ReduceL2": norm(squared=True),
    "ReduceLogSumExp": log_sum_exp, "Softmax": softmax("SOFTMAX", beta=1.0), "TopK": top_k,
}  # fmt: skip
