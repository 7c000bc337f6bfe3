"""Rules for pnnx: comparisons, and choices between values by them, as arithmetic on 1 and 0."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import NodeProto, helper, numpy_helper
from onnx_rule import Arrays, Others, Shapes, values_of

_GREATER = ("Greater", "Less", "GreaterOrEqual", "LessOrEqual")


def _reads_number(graph: onnx.GraphProto, made: str) -> bool:
    """Whether all readers of a comparison take it for 1 or 0: choices by it, casts to float and casts of an output."""
    outputs = {output.name for output in graph.output}
    readers = [reader for reader in graph.node if made in reader.input]

    def takes(reader: NodeProto) -> bool:
        if reader.op_type == "Where":
            return reader.input[0] == made
        return reader.op_type == "Cast" and (
            values_of(reader)["to"] == onnx.TensorProto.FLOAT or reader.output[0] in outputs
        )

    return all(takes(reader) for reader in readers) and made not in outputs


def _greater_by_difference(graph: onnx.GraphProto, node: NodeProto, _shapes: Shapes, _constants: Arrays) -> Others:
    """Replaces `a > b` that is read as 1 or 0, which ncnn lacks, by ceil(min(relu(a - b), 1)), exact in floats."""
    (made,) = node.output
    if not _reads_number(graph, made):
        return None
    number = _number_of(made)
    for reader in graph.node:
        if reader.op_type == "Cast" and made in reader.input:
            reader.CopyFrom(helper.make_node("Identity", [number], reader.output, reader.name))
    one, difference, above, limited, is_so = (f"{made}.{name}" for name in ("one", "minus", "relu", "min", "ceil"))
    graph.initializer.append(numpy_helper.from_array(np.array(1, np.float32), one))
    turned = node.op_type in ("Less", "GreaterOrEqual")  # a >= b is the opposite of b > a
    negated = node.op_type.endswith("OrEqual")
    last = is_so if negated else number
    nodes = [
        helper.make_node("Sub", reversed(node.input) if turned else node.input, [difference], difference),
        helper.make_node("Relu", [difference], [above], above),
        helper.make_node("Min", [above, one], [limited], limited),
        helper.make_node("Ceil", [limited], [last], node.name),
    ]
    return [*nodes, helper.make_node("Sub", [one, is_so], [number], f"{node.name}.not")] if negated else nodes


def _number_of(made: str) -> str:
    return f"{made}.zero_or_one"


def _choice_by_products(graph: onnx.GraphProto, node: NodeProto, _shapes: Shapes, constants: Arrays) -> Others:
    """Replaces `Where` by number * a + (1 - number) * b, exact for finite a and b.

    Its condition is a comparison or a constant.
    """
    condition = node.input[0]
    if condition in constants:
        number = numpy_helper.from_array(constants[condition].astype(np.float32), f"{node.output[0]}.chosen")
        graph.initializer.append(number)
        return _by_number(graph, node, number.name)
    compared = any(condition in maker.output and maker.op_type in _GREATER for maker in graph.node)
    if not compared or not _reads_number(graph, condition):
        return None
    return _by_number(graph, node, _number_of(condition))


def _by_number(graph: onnx.GraphProto, node: NodeProto, number: str) -> list[NodeProto]:
    (_, first, second), (made,) = node.input, node.output
    one, other, yes, no = (f"{made}.{name}" for name in ("one", "not", "yes", "no"))
    graph.initializer.append(numpy_helper.from_array(np.array(1, np.float32), one))
    return [
        helper.make_node("Sub", [one, number], [other], other),
        helper.make_node("Mul", [number, first], [yes], yes),
        helper.make_node("Mul", [other, second], [no], no),
        helper.make_node("Add", [yes, no], [made], node.name),
    ]


def _cast_of_whole(graph: onnx.GraphProto, node: NodeProto, _shapes: Shapes, constants: Arrays) -> Others:
    """Drops a cast to integers, which ncnn lacks, of a choice between two whole numbers."""
    if values_of(node)["to"] not in (onnx.TensorProto.INT32, onnx.TensorProto.INT64):
        return None
    makers = {name: maker for maker in graph.node for name in maker.output}
    maker = makers.get(node.input[0])
    while maker is not None and maker.op_type in ("Squeeze", "Unsqueeze", "Reshape", "Identity"):
        maker = makers.get(maker.input[0])
    if maker is None or maker.op_type != "Where":
        return None
    branches = [constants.get(name) for name in maker.input[1:]]
    if any(branch is None or (branch != np.trunc(branch)).any() for branch in branches):
        return None
    return [helper.make_node("Identity", node.input, node.output, node.name)]


RULES = {
    **dict.fromkeys(_GREATER, _greater_by_difference),
    "Where": _choice_by_products,
    "Cast": _cast_of_whole,
}
