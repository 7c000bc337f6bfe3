"""Writes an ONNX model in the form that MNN's converter reads as ONNX defines it. Command: prepare.

MNN 3.6.1 takes some attributes that a file leaves out for others than ONNX's defaults (`OneHot`, `Resize`, `ReduceL2`,
`LogSoftmax`), fails on a pool without strides, and computes some comparisons, choices and transposes wrongly.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import NodeProto, defs, helper, numpy_helper
from onnx_rule import Arrays, Others, Shapes, replace, shapes_of, values_of

_POOLS = ("MaxPool", "AveragePool", "LpPool")
_MIRRORED = {"Less": "Greater", "Greater": "Less", "LessOrEqual": "GreaterOrEqual", "GreaterOrEqual": "LessOrEqual"}
_WIDTH_FIRST = (3, 1, 2)


def prepare(arguments, _arrays):
    """Writes `out`."""
    model = onnx.load(arguments["onnx"])
    opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    for node in model.graph.node:
        _write_defaults(node, opset)
    replace(model.graph, shapes_of(model), _RULES)
    onnx.save(model, arguments["out"])
    return {}, []


def _write_defaults(node: NodeProto, opset: int) -> None:
    """Gives an operator of ONNX the attributes that it leaves out."""
    if node.domain not in ("", "ai.onnx") or not defs.has(node.op_type, opset):
        return
    given = {attribute.name: attribute for attribute in node.attribute}
    for name, attribute in defs.get_schema(node.op_type, opset).attributes.items():
        if name not in given and attribute.default_value.type != onnx.AttributeProto.UNDEFINED:
            node.attribute.append(attribute.default_value)
    if node.op_type in _POOLS and "strides" not in given:
        node.attribute.append(helper.make_attribute("strides", [1] * len(given["kernel_shape"].ints)))


def _compare(_graph: onnx.GraphProto, node: NodeProto, _shapes: Shapes, constants: Arrays) -> Others:
    """Puts a constant second, and writes `Less` as the opposite of `GreaterOrEqual`: MNN mixes values otherwise."""
    kind, given, (made,) = node.op_type, list(node.input), node.output
    if given[0] in constants:
        kind, given = _MIRRORED[kind], given[::-1]
    if kind != "Less":
        return [helper.make_node(kind, given, [made], node.name)]
    opposite = f"{made}.not"
    return [
        helper.make_node("GreaterOrEqual", given, [opposite], opposite),
        helper.make_node("Not", [opposite], [made], node.name),
    ]


def _choose(graph: onnx.GraphProto, node: NodeProto, shapes: Shapes, _constants: Arrays) -> Others:
    """Gives the value of a `Where` that is taken where the condition is false the size of the result.

    MNN reads beyond its end.
    """
    (condition, chosen, other), (made,) = node.input, node.output
    wanted = shapes.get(made, [])
    if not wanted or 0 in wanted or shapes.get(other, []) in ([], wanted):
        return None
    whole, size = f"{made}.other", f"{made}.size"
    graph.initializer.append(numpy_helper.from_array(np.array(wanted, np.int64), size))
    return [
        helper.make_node("Expand", [other, size], [whole], whole),
        helper.make_node("Where", [condition, chosen, whole], [made], node.name),
    ]


def _transpose(_graph: onnx.GraphProto, node: NodeProto, shapes: Shapes, _constants: Arrays) -> Others:
    """Writes as two transposes what moves the width before channels and height where width and channels are equal.

    MNN takes such a move of one image for that of a square matrix, and mixes its values.
    """
    perm = values_of(node).get("perm", [])
    if not _is_mixed(shapes.get(node.input[0], []), perm):
        return None
    between, moved = f"{node.output[0]}.square", [{2: 3, 3: 2}.get(axis, axis) for axis in perm]
    return [
        helper.make_node("Transpose", [node.input[0]], [between], between, perm=[0, 1, 3, 2]),
        helper.make_node("Transpose", [between], [node.output[0]], node.name, perm=moved),
    ]


def _is_mixed(sizes: list[int], perm: list[int]) -> bool:
    """Whether MNN mixes this transpose, or may: a size of 0 is unknown."""
    if len(sizes) != 4 or tuple(axis for axis in perm if axis) != _WIDTH_FIRST:
        return False
    images, channels, height, width = sizes
    return images <= 1 and height != 1 and (channels == width or 0 in (channels, width))


_RULES = {
    **dict.fromkeys(_MIRRORED, _compare),
    "Transpose": _transpose,
    "Where": _choose,
}
COMMANDS = {"prepare": prepare}
