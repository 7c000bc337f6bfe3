"""Writes an ONNX model in the form that MNN's converter reads as ONNX defines it. Command: prepare.

MNN 3.6.1 takes some attributes that a file leaves out for others than ONNX's defaults (`OneHot`, `Resize`, `ReduceL2`,
`LogSoftmax`), fails on a pool without strides, and transposes some values wrongly.
"""

from __future__ import annotations

import onnx
from onnx import NodeProto, defs, helper, shape_inference

_POOLS = ("MaxPool", "AveragePool", "LpPool")
_WIDTH_FIRST = (3, 1, 2)


def prepare(arguments, _arrays):
    """Writes `out`."""
    model = onnx.load(arguments["onnx"])
    opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    for node in model.graph.node:
        _write_defaults(node, opset)
    split_transposes(model)
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


def split_transposes(model: onnx.ModelProto) -> None:
    """Writes as two transposes what moves the width before channels and height where width and channels are equal.

    MNN takes such a move of one image for that of a square matrix, and mixes its values.
    """
    graph = shape_inference.infer_shapes(model).graph
    sizes = {
        value.name: [size.dim_value for size in value.type.tensor_type.shape.dim]
        for value in (*graph.value_info, *graph.input)
    }
    nodes = []
    for node in model.graph.node:
        perm = next((list(each.ints) for each in node.attribute if each.name == "perm"), [])
        if node.op_type != "Transpose" or not _is_mixed(sizes.get(node.input[0], []), perm):
            nodes.append(node)
            continue
        between = f"{node.output[0]}.square"
        nodes.append(helper.make_node("Transpose", [node.input[0]], [between], between, perm=[0, 1, 3, 2]))
        moved = [{2: 3, 3: 2}.get(axis, axis) for axis in perm]
        nodes.append(helper.make_node("Transpose", [between], [node.output[0]], node.name, perm=moved))
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _is_mixed(sizes: list[int], perm: list[int]) -> bool:
    """Whether MNN mixes this transpose, or may: a size of 0 is unknown."""
    if len(sizes) != 4 or tuple(axis for axis in perm if axis) != _WIDTH_FIRST:
        return False
    images, channels, height, width = sizes
    return images <= 1 and height != 1 and (channels == width or 0 in (channels, width))


COMMANDS = {"prepare": prepare}
