"""Rules for pnnx: activations that ncnn lacks, as arithmetic."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import NodeProto, helper, numpy_helper
from onnx_rule import Arrays, Others, Shapes, values_of


def _selu_by_elu(graph: onnx.GraphProto, node: NodeProto, _shapes: Shapes, _constants: Arrays) -> Others:
    """Replaces a `Selu`, which ncnn lacks, by its factor times an `Elu`."""
    values, (made,) = values_of(node), node.output
    factor, inner = f"{made}.factor", f"{made}.elu"
    gamma = np.array(values.get("gamma", 1.0507009873554805), np.float32)
    graph.initializer.append(numpy_helper.from_array(gamma, factor))
    alpha = values.get("alpha", 1.6732632423543772)
    return [
        helper.make_node("Elu", node.input, [inner], inner, alpha=alpha),
        helper.make_node("Mul", [inner, factor], [made], node.name),
    ]


def _softsign_by_quotient(graph: onnx.GraphProto, node: NodeProto, _shapes: Shapes, _constants: Arrays) -> Others:
    """Replaces a `Softsign`, which ncnn lacks, by x / (1 + |x|)."""
    (x,), (made,) = node.input, node.output
    one, size, more = (f"{made}.{name}" for name in ("one", "abs", "more"))
    graph.initializer.append(numpy_helper.from_array(np.array(1, np.float32), one))
    return [
        *_magnitude(x, size, size),
        helper.make_node("Add", [size, one], [more], more),
        helper.make_node("Div", [x, more], [made], node.name),
    ]


def _magnitude_of_quotient(graph: onnx.GraphProto, node: NodeProto, _shapes: Shapes, _constants: Arrays) -> Others:
    """Replaces the |x| of x / (1 + |x|)."""
    (x,), (made,) = node.input, node.output
    sums = {reader.output[0] for reader in graph.node if reader.op_type == "Add" and made in reader.input}
    if any(reader.op_type == "Div" and reader.input[0] == x and reader.input[1] in sums for reader in graph.node):
        return _magnitude(x, made, node.name)
    return None


def _magnitude(x: str, made: str, name: str) -> list[NodeProto]:
    """relu(x) + relu(-x): of |x| in x / (1 + |x|), pnnx makes a softsign, which ncnn lacks."""
    up, turned, down = (f"{made}.{part}" for part in ("up", "neg", "down"))
    return [
        helper.make_node("Relu", [x], [up], up),
        helper.make_node("Neg", [x], [turned], turned),
        helper.make_node("Relu", [turned], [down], down),
        helper.make_node("Add", [up, down], [made], name),
    ]


def _threshold_by_product(graph: onnx.GraphProto, node: NodeProto, _shapes: Shapes, _constants: Arrays) -> Others:
    """Replaces a `ThresholdedRelu`, which ncnn lacks, by x * ceil(min(relu(x - alpha), 1))."""
    (x,), (made,) = node.input, node.output
    alpha, one, above, kept, limited, is_so = (
        f"{made}.{name}" for name in ("alpha", "one", "minus", "relu", "min", "ceil")
    )
    for name, value in ((alpha, values_of(node).get("alpha", 1.0)), (one, 1)):
        graph.initializer.append(numpy_helper.from_array(np.array(value, np.float32), name))
    return [
        helper.make_node("Sub", [x, alpha], [above], above),
        helper.make_node("Relu", [above], [kept], kept),
        helper.make_node("Min", [kept, one], [limited], limited),
        helper.make_node("Ceil", [limited], [is_so], is_so),
        helper.make_node("Mul", [x, is_so], [made], node.name),
    ]


def _tanh_turned(graph: onnx.GraphProto, node: NodeProto, _shapes: Shapes, _constants: Arrays) -> Others:
    """Replaces the tanh(x) of x - tanh(x) by -tanh(-x): pnnx makes a layer of it that ncnn lacks."""
    (x,), (made,) = node.input, node.output
    if not any(reader.op_type == "Sub" and list(reader.input) == [x, made] for reader in graph.node):
        return None
    turned, bent = f"{made}.neg", f"{made}.tanh"
    return [
        helper.make_node("Neg", [x], [turned], turned),
        helper.make_node("Tanh", [turned], [bent], bent),
        helper.make_node("Neg", [bent], [made], node.name),
    ]


def _axis_from_front(_graph: onnx.GraphProto, node: NodeProto, shapes: Shapes, _constants: Arrays) -> Others:
    """Counts the axis from the front: pnnx loses one counted from the end where it drops transposes around it."""
    values, rank = values_of(node), len(shapes.get(node.input[0], []))
    axis = values.get("axis", -1)
    if axis >= 0 or not rank:
        return None
    return [helper.make_node(node.op_type, node.input, node.output, node.name, axis=axis + rank)]


RULES = {
    "Abs": _magnitude_of_quotient,
    "LogSoftmax": _axis_from_front,
    "Selu": _selu_by_elu,
    "Softmax": _axis_from_front,
    "Softsign": _softsign_by_quotient,
    "Tanh": _tanh_turned,
    "ThresholdedRelu": _threshold_by_product,
}
