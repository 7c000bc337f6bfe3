"""Chooses from the graph which operators compute in int8, and which of their tensors are rounded."""

from __future__ import annotations

import onnx
from float_model import PRODUCTS
from onnx import TensorProto
from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

# Normalizations and softmax lose more in 8 bits than they save; operators that only read a shape save nothing.
_NEVER = frozenset(
    {"BatchNormalization", "InstanceNormalization", "LayerNormalization", "GroupNormalization", "Softmax", "ArgMax"}
    | {"Where", "EmbedLayerNormalization", "Gather", "Unsqueeze", "Squeeze"}
)
_FOLDED = ("Relu", "Clip")  # into the product before them


def choose_nodes(model: onnx.ModelProto, float_operators: set[str], float_nodes: set[str]) -> set[str]:
    """Names of the operators that will compute in int8.

    Products (convolutions, matrix products) always become faster. Operators that only move or add numbers do not, and
    they add a rounding error. So they are int8 only between int8 operators: all producers of their inputs and all their
    consumers are int8. A Relu or Clip right after a product has no cost, because it is folded into the product.
    """
    producers = {name: node for node in model.graph.node for name in node.output}
    consumers: dict[str, list] = {}
    for node in model.graph.node:
        for name in node.input:
            consumers.setdefault(name, []).append(node)
    constants = {value.name for value in model.graph.initializer}
    outputs = {value.name for value in model.graph.output}
    known = set(QDQRegistry) | set(QLinearOpsRegistry)
    float_nodes = float_nodes | grouped_transposed(model)
    chosen = {
        node.name
        for node in model.graph.node
        if (node.op_type in PRODUCTS or (node.op_type in known and node.op_type not in _NEVER))
        and node.op_type not in float_operators
        and node.name not in float_nodes
    }

    def folded(node) -> bool:
        before = producers.get(node.input[0])
        product = before is not None and before.op_type in PRODUCTS and before.name in chosen
        return node.op_type in _FOLDED and product

    def inside(node) -> bool:
        sources = [producers.get(name) for name in node.input if name and name not in constants]
        users = [user for name in node.output for user in consumers.get(name, [])]
        return (
            all(source is None or source.op_type == "Constant" or source.name in chosen for source in sources)
            and all(user.name in chosen for user in users)
            and not outputs.intersection(node.output)
        )

    while True:
        dropped = {
            node.name
            for node in model.graph.node
            if node.name in chosen and node.op_type not in PRODUCTS and not folded(node) and not inside(node)
        }
        if not dropped:
            return chosen
        chosen -= dropped


def grouped_transposed(model: onnx.ModelProto) -> set[str]:
    """Names of the grouped transposed convolutions, which stay float.

    Their weights are [in, out / groups, ...]: ONNX Runtime makes one scale per index of the second axis, but the bias
    has `out` elements. ONNX Runtime computes them in float anyway, so only a few bytes of weights are not saved.
    """
    return {
        node.name
        for node in model.graph.node
        if node.op_type == "ConvTranspose"
        and any(attribute.name == "group" and attribute.i > 1 for attribute in node.attribute)
    }


def rounded_tensors(model: onnx.ModelProto, chosen: set[str], *, with_outputs: bool) -> list[str]:
    """Float inputs (and, if `with_outputs`, outputs) of quantized operators, in graph order."""
    inferred = onnx.shape_inference.infer_shapes(model)
    kinds = {value.name: value.type.tensor_type.elem_type for value in inferred.graph.value_info}
    kinds |= {v.name: v.type.tensor_type.elem_type for v in (*model.graph.input, *model.graph.output)}
    constants = {value.name for value in model.graph.initializer}
    names: dict[str, None] = {}
    for node in model.graph.node:
        if node.name in chosen:
            for name in (*node.input, *(node.output if with_outputs else ())):
                if name and name not in constants and kinds.get(name) == TensorProto.FLOAT:
                    names[name] = None
    return list(names)


def separate(model: onnx.ModelProto, chosen: set[str]) -> list[str]:
    """The operators that can stay in float on their own: all but those that are folded into a product."""
    nodes = [node for node in model.graph.node if node.name in chosen]
    products = {name for node in nodes if node.op_type in PRODUCTS for name in node.output}
    return [node.name for node in nodes if node.op_type not in _FOLDED or node.input[0] not in products]


def lone_products(model: onnx.ModelProto, chosen: set[str]) -> list[str]:
    """The int8 products between float operators only."""
    nodes = [node for node in model.graph.node if node.name in chosen]
    near: dict[str, set[str]] = {}  # tensor -> int8 operators that read or make it
    for node in nodes:
        for name in (*node.input, *node.output):
            near.setdefault(name, set()).add(node.name)
    folded = {node.input[0]: node for node in nodes if node.op_type in _FOLDED}
    found = []
    for node in nodes:
        if node.op_type in PRODUCTS:
            own = {node.name}
            around = [*node.input, *node.output]
            for name in node.output:
                if name in folded and near[name] == {node.name, folded[name].name}:
                    own.add(folded[name].name)
                    around += folded[name].output
            if not set().union(*(near[name] for name in around)) - own:
                found.append(node.name)
    return found
