"""What a quantized ONNX file stores of its operators' weights, found through the graph."""

from __future__ import annotations

from dataclasses import dataclass

import onnx


@dataclass(frozen=True)
class Stored:
    whole: onnx.TensorProto
    scale: onnx.TensorProto


def weights_of(model: onnx.ModelProto) -> dict[str, Stored]:
    """The weights of the operators that have any in 8 or 4 bits, by the operator's name."""
    constants = {value.name: value for value in model.graph.initializer}
    producers = {name: node for node in model.graph.node for name in node.output}
    found = {}
    for node in model.graph.node:
        narrow = producers.get(node.input[1]) if len(node.input) > 1 else None
        if narrow is None or narrow.op_type != "DequantizeLinear":
            continue
        whole = narrow.input[0]
        if whole in producers and producers[whole].op_type == "Cast":
            whole = producers[whole].input[0]
        if whole in constants:
            found[node.name] = Stored(constants[whole], constants[narrow.input[1]])
    return found
