"""Cuts parts out of an ONNX model. Commands: places, cut."""

from __future__ import annotations

import onnx
from node_reads import reads
from onnx import TensorProto, helper, shape_inference

_state: dict = {}


def places(arguments, _arrays):
    """Opens a model and lists where it can be cut.

    A tensor can be cut if it is float, of a known size, and of one image: [1, C, H, W].

    Returns:
        places: Each place between two operators where all tensors that cross it can be cut: the number of operators
            before it, and the names of these tensors. The first one is the beginning, with the model's inputs.
        ends: For each tensor that can be cut: the place of its operator, the operator's type, the tensor's name, and
            the names of what the operator reads.
        sizes: Tensor -> its shape.
    """
    model = onnx.load(arguments["onnx"])
    inferred = shape_inference.infer_shapes(model).graph
    sizes = {}
    for value in (*inferred.value_info, *inferred.input, *inferred.output):
        kind = value.type.tensor_type
        shape = [size.dim_value for size in kind.shape.dim]
        if kind.elem_type == TensorProto.FLOAT and len(shape) == 4 and shape[0] == 1 and all(shape):
            sizes[value.name] = shape
    constants = {value.name for value in model.graph.initializer}
    inputs = [value.name for value in model.graph.input if value.name not in constants]
    of_image = set(inputs)
    for node in model.graph.node:
        if of_image & set(reads(node)):
            of_image.update(node.output)
    read_last = {name: index for index, node in enumerate(model.graph.node) for name in reads(node)}
    read_last.update(dict.fromkeys((value.name for value in model.graph.output), len(model.graph.node)))
    crossing, found = dict.fromkeys(inputs), [[0, inputs]]
    for index, node in enumerate(model.graph.node, 1):
        crossing.update(dict.fromkeys(name for name in node.output if name in of_image))
        crossing = {name: None for name in crossing if read_last.get(name, -1) >= index}
        if of_image & set(node.output) and crossing.keys() <= sizes.keys():
            found.append([index, list(crossing)])
    ends = [
        [index, node.op_type, name, list(node.input)]
        for index, node in enumerate(model.graph.node)
        for name in node.output
        if name in sizes and name in of_image
    ]
    _state.update(model=model, sizes=sizes)
    return {"places": found, "ends": ends, "sizes": sizes}, []


def cut(arguments, _arrays):
    """Writes `out`: what computes the tensors `ends` from the tensors `starts`; returns those starts that it reads."""
    graph, starts, sizes = _state["model"].graph, arguments["starts"], _state["sizes"]
    wanted, nodes = set(arguments["ends"]), []
    for node in reversed(graph.node):
        if (wanted & set(node.output)) - set(starts):
            nodes.append(node)
            wanted.update(reads(node))
    read = [name for name in starts if name in wanted]
    whole = {value.name: value for value in graph.input}
    part = helper.make_graph(
        nodes[::-1],
        "cut",
        [whole[name] if name in whole else _described(name, sizes) for name in read],
        [_described(name, sizes) for name in arguments["ends"]],
        [value for value in graph.initializer if value.name in wanted],
    )
    made = helper.make_model(part, opset_imports=list(_state["model"].opset_import))
    made.ir_version = _state["model"].ir_version
    made.functions.extend(_state["model"].functions)
    onnx.save(made, arguments["out"])
    return {"inputs": read}, []


def _described(name: str, sizes: dict) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, sizes[name])


COMMANDS = {"places": places, "cut": cut}
