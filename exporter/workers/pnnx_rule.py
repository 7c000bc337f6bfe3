"""What a rule of `pnnx_*.py` reads and returns: `rule(graph, node, shapes, constants)`."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import NodeProto, helper, numpy_helper

Shapes = dict[str, list[int]]
"""Sizes of each value; 0: unknown."""
Arrays = dict[str, np.ndarray]
Others = list[NodeProto] | None
"""What an operator is replaced by; None: it stays."""


def values_of(node: NodeProto) -> dict:
    """The values of an operator's attributes."""
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def cut(graph: onnx.GraphProto, value: str, made: str, axis: int, start: int, end: int) -> NodeProto:
    """A slice of neighbours along one axis."""
    bounds = {f"{made}.start": start, f"{made}.end": end, f"{made}.axis": axis}
    graph.initializer.extend(numpy_helper.from_array(np.array([v], np.int64), k) for k, v in bounds.items())
    return helper.make_node("Slice", [value, *bounds], [made], made)
