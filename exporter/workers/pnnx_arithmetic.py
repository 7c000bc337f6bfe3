"""Replaces reductions and comparisons that pnnx or ncnn lacks."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import NodeProto, helper, numpy_helper
from onnx_rule import Arrays, Others, Shapes, values_of


def _sum_by_means(graph: onnx.GraphProto, node: NodeProto, shapes: Shapes, constants: Arrays) -> Others:
    """Replaces a `ReduceSum` by a mean times a count: pnnx omits the axes, which are an input, and nothing is added.

    A mean has its axes as an attribute up to opset 17.
    """
    axes = constants.get(node.input[1]) if len(node.input) > 1 else None
    before = shapes.get(node.input[0], [])
    taken = [int(axis) % len(before) for axis in axes.reshape(-1)] if axes is not None and before else []
    count = int(np.prod([before[axis] for axis in taken]))
    if not taken or not count:
        return None
    (value, _), (made,) = node.input, node.output
    kept = values_of(node).get("keepdims", 1)
    graph.initializer.append(numpy_helper.from_array(np.array(count, np.float32), f"{made}.count"))
    return [
        helper.make_node("ReduceMean", [value], [f"{made}.mean"], node.name, axes=taken, keepdims=kept),
        helper.make_node("Mul", [f"{made}.mean", f"{made}.count"], [made], f"{made}.sum"),
    ]


def _mean_in_two(_graph: onnx.GraphProto, node: NodeProto, shapes: Shapes, _constants: Arrays) -> Others:
    """Takes a mean along many axes in two steps, which pnnx does not fuse into a layer normalization.

    ncnn normalizes along the last axis or the last two of three; pnnx writes a layer for any number, which ncnn reads
    as another one.
    """
    values, rank = values_of(node), len(shapes.get(node.input[0], []))
    axes = sorted(axis % rank for axis in values.get("axes", [])) if rank else []
    if len(axes) <= max(1, min(rank - 2, 2)) or not values.get("keepdims", 1):
        return None
    value, made = node.input[0], node.output[0]
    return [
        helper.make_node("ReduceMean", [value], [f"{made}.inner"], node.name, axes=axes[1:], keepdims=1),
        helper.make_node("ReduceMean", [f"{made}.inner"], [made], f"{made}.outer", axes=axes[:1], keepdims=1),
    ]


def _one_by_one(_graph: onnx.GraphProto, node: NodeProto, shapes: Shapes, _constants: Arrays) -> Others:
    """Reduces along one axis after the other: pnnx knows no largest or smallest along several."""
    values, before = values_of(node), shapes.get(node.input[0], [])
    axes = sorted(axis % len(before) for axis in values.get("axes", range(len(before)))) if before else []
    if len(axes) < 2:
        return None
    value, (made,), kept, nodes = node.input[0], node.output, values.get("keepdims", 1), []
    for axis in reversed(axes):
        end = made if axis == axes[0] else f"{made}.{axis}"
        nodes.append(helper.make_node(node.op_type, [value], [end], end, axes=[axis], keepdims=kept))
        value = end
    nodes[-1].name = node.name
    return nodes


def _equal_by_distance(graph: onnx.GraphProto, node: NodeProto, _shapes: Shapes, _constants: Arrays) -> Others:
    """Replaces an `Equal` that is read as 1 or 0, which ncnn lacks, by 1 - ceil(min(|a - b|, 1)), exact in floats."""
    (made,) = node.output
    readers = [reader for reader in graph.node if made in reader.input]
    as_float = [reader.op_type == "Cast" and values_of(reader)["to"] == onnx.TensorProto.FLOAT for reader in readers]
    if not all(as_float) or made in {output.name for output in graph.output}:
        return None
    one, number = f"{made}.one", f"{made}.zero_or_one"
    graph.initializer.append(numpy_helper.from_array(np.array(1, np.float32), one))
    for reader in readers:
        reader.CopyFrom(helper.make_node("Identity", [number], reader.output, reader.name))
    difference, distance, limited, differs = (f"{made}.{name}" for name in ("minus", "abs", "min", "ceil"))
    return [
        helper.make_node("Sub", node.input, [difference], difference),
        helper.make_node("Abs", [difference], [distance], distance),
        helper.make_node("Min", [distance, one], [limited], limited),
        helper.make_node("Ceil", [limited], [differs], differs),
        helper.make_node("Sub", [one, differs], [number], node.name),
    ]


RULES = {
    "ReduceSum": _sum_by_means,
    "ReduceMean": _mean_in_two,
    "ReduceMax": _one_by_one,
    "ReduceMin": _one_by_one,
    "Equal": _equal_by_distance,
}
