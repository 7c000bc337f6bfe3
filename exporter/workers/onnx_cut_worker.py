"""Cuts an ONNX model at one of its tensors. Commands: ends, cut."""

from __future__ import annotations

import onnx
from onnx import TensorProto, helper, shape_inference

_state: dict = {}


def ends(arguments, _arrays):
    """Opens a model and lists the tensors at which it can be cut, in the graph's order.

    Returns:
        ends: For each float tensor of a known size: the operator that computes it, its name, its shape, and the names
            of the operator's inputs.
    """
    model = onnx.load(arguments["onnx"])
    inferred = shape_inference.infer_shapes(model).graph
    sizes = {}
    for value in (*inferred.value_info, *inferred.output):
        kind = value.type.tensor_type
        shape = [size.dim_value for size in kind.shape.dim]
        if kind.elem_type == TensorProto.FLOAT and len(shape) == 4 and shape[0] == 1 and all(shape):
            sizes[value.name] = shape
    _state.update(model=model, sizes=sizes)
    found = [
        [node.op_type, name, sizes[name], list(node.input)]
        for node in model.graph.node
        for name in node.output
        if name in sizes
    ]
    return {"ends": found}, []


def cut(arguments, _arrays):
    """Writes `out`: the model up to the tensor `end`."""
    model, end = onnx.ModelProto(), arguments["end"]
    model.CopyFrom(_state["model"])
    wanted, kept = {end}, []
    for node in reversed(model.graph.node):
        if wanted & set(node.output):
            kept.append(node)
            wanted |= set(node.input)
    nodes, constants = list(reversed(kept)), [value for value in model.graph.initializer if value.name in wanted]
    shape = _state["sizes"][end]
    graph = helper.make_graph(
        nodes,
        "cut",
        list(model.graph.input),
        [helper.make_tensor_value_info(end, TensorProto.FLOAT, shape)],
        constants,
    )
    made = helper.make_model(graph, opset_imports=list(model.opset_import))
    made.ir_version = model.ir_version
    onnx.save(made, arguments["out"])
    return {}, []


COMMANDS = {"ends": ends, "cut": cut}
