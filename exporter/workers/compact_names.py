"""Short names for what quantization adds to an ONNX graph, and one copy of equal constants.

The quantizer names every scale, zero point and conversion after the tensor that it belongs to. In a small network with
4-bit weights these names take a quarter of the file. Operators that compute, and their outputs, keep their names:
ranges, float layers and diagnoses are found by them.
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx

_CONVERSIONS = ("QuantizeLinear", "DequantizeLinear")


def compact(model: onnx.ModelProto) -> None:
    """Merges equal constants; renames constants, and conversions with their outputs, to `q0`, `q1` ..."""
    graph = model.graph
    fixed = _fixed(graph)
    _rename(graph, _merge(graph, fixed))
    constants = {value.name for value in graph.initializer}
    conversions = [
        node
        for node in graph.node
        if (node.op_type in _CONVERSIONS or (node.op_type == "Cast" and node.input[0] in constants))
        and node.output[0] not in fixed
    ]
    renamed = [value.name for value in graph.initializer if value.name not in fixed]
    renamed += [node.output[0] for node in conversions]
    others = fixed | {name for node in graph.node for name in (node.name, *node.output)} - set(renamed)
    free = (name for number in range(len(others) + len(renamed)) if (name := f"q{number}") not in others)
    names = dict(zip(renamed, free, strict=False))
    for node in conversions:
        node.name = names[node.output[0]]
    for value in graph.initializer:
        value.name = names.get(value.name, value.name)
    _rename(graph, names)


def _fixed(graph: onnx.GraphProto) -> set[str]:
    """Names that stay: of inputs and outputs, of tensors whose shape is recorded, and what branches and loops read."""
    bodies = [
        body
        for node in graph.node
        for attribute in node.attribute
        for body in (attribute.g, *attribute.graphs)
        if body.node or body.output
    ]
    inside = {name for body in bodies for name in _fixed(body) | {name for node in body.node for name in node.input}}
    return inside | {value.name for value in (*graph.input, *graph.output, *graph.value_info)}


def _merge(graph: onnx.GraphProto, fixed: set[str]) -> dict[str, str]:
    """Removes constants that equal an earlier one; returns their names, each with that of the earlier one."""
    first: dict[bytes, str] = {}
    merged: dict[str, str] = {}
    for value in graph.initializer:
        nameless = onnx.TensorProto()
        nameless.CopyFrom(value)
        nameless.ClearField("name")
        kept = first.setdefault(nameless.SerializeToString(deterministic=True), value.name)
        if kept != value.name and value.name not in fixed:
            merged[value.name] = kept
    for index in reversed(range(len(graph.initializer))):
        if graph.initializer[index].name in merged:
            del graph.initializer[index]
    return merged


def _rename(graph: onnx.GraphProto, names: Mapping[str, str]) -> None:
    for node in graph.node:
        for tensors in (node.input, node.output):
            for index, name in enumerate(tensors):
                if name in names:
                    tensors[index] = names[name]
