"""Rules that replace operators of an ONNX model, for pnnx and for MNN: `rule(graph, node, shapes, constants)`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx
from onnx import NodeProto, helper, numpy_helper, shape_inference

Shapes = dict[str, list[int]]
"""Sizes of each value; 0: unknown."""
Arrays = dict[str, np.ndarray]
Others = list[NodeProto] | None
"""What an operator is replaced by; None: it stays."""
Rule = Callable[[onnx.GraphProto, NodeProto, Shapes, Arrays], Others]


def shapes_of(model: onnx.ModelProto) -> Shapes:
    """The sizes of all values and constants."""
    inferred = shape_inference.infer_shapes(model).graph
    values = (*inferred.value_info, *inferred.input, *inferred.output, *inferred.initializer)
    return {value.name: _dims(value) for value in values}


def _dims(value) -> list[int]:
    if isinstance(value, onnx.TensorProto):
        return list(value.dims)
    return [size.dim_value for size in value.type.tensor_type.shape.dim]


def replace(graph: onnx.GraphProto, shapes: Shapes, rules: Mapping[str, Rule]) -> int:
    """Replaces each operator that a rule has other operators for; returns their number."""
    constants = {value.name: numpy_helper.to_array(value) for value in graph.initializer}
    nodes, changed = [], 0
    for node in graph.node:
        rule = rules.get(node.op_type)
        others = rule(graph, node, shapes, constants) if rule else None
        nodes += [node] if others is None else others
        changed += others is not None
    del graph.node[:]
    graph.node.extend(nodes)
    return changed


def values_of(node: NodeProto) -> dict:
    """The values of an operator's attributes."""
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def cut(graph: onnx.GraphProto, value: str, made: str, axis: int, start: int, end: int) -> NodeProto:
    """A slice of neighbours along one axis."""
    bounds = {f"{made}.start": start, f"{made}.end": end, f"{made}.axis": axis}
    graph.initializer.extend(numpy_helper.from_array(np.array([v], np.int64), k) for k, v in bounds.items())
    return helper.make_node("Slice", [value, *bounds], [made], made)
