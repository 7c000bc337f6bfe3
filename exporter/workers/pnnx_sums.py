"""Writes a cumulative sum, which pnnx does not know, as a product with a constant triangle of ones."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import NodeProto, helper, numpy_helper
from onnx_rule import Arrays, Others, Shapes, values_of


def _sum_by_triangle(graph: onnx.GraphProto, node: NodeProto, shapes: Shapes, constants: Arrays) -> Others:
    """Replaces a `CumSum` along rows, columns or channels: each result is a sum of those before it."""
    before, axis = shapes.get(node.input[0], []), constants.get(node.input[1])
    if axis is None or len(before) not in (3, 4) or before[0] != 1:
        return None
    axis, (made,), values = int(axis.reshape(-1)[0]) % len(before), node.output, values_of(node)
    if not axis or not before[axis]:
        return None
    taken = np.tril(np.ones((before[axis], before[axis]), np.float32), -1 if values.get("exclusive") else 0)
    if values.get("reverse"):
        taken = taken.T
    weight, channels = f"{made}.triangle", len(before) == 4 and axis == 1
    if channels:
        taken = taken[:, :, None, None]
    elif axis == len(before) - 1:
        taken = taken.T
    graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(taken), weight))
    if channels:
        return [helper.make_node("Conv", [node.input[0], weight], [made], node.name, kernel_shape=[1, 1])]
    given = [node.input[0], weight] if axis == len(before) - 1 else [weight, node.input[0]]
    return [helper.make_node("MatMul", given, [made], node.name)]


RULES = {"CumSum": _sum_by_triangle}
