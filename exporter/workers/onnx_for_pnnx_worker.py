"""Writes an ONNX model in the form that pnnx converts without loss. Command: prepare."""

from __future__ import annotations

import onnx
import pnnx_activations
import pnnx_arithmetic
import pnnx_broadcasts
import pnnx_choices
import pnnx_moves
import pnnx_steps
import pnnx_sums
import pnnx_transposes
import pnnx_windows
from onnx import numpy_helper, shape_inference
from pnnx_axes import join_reshapes
from pnnx_rule import Shapes
from pnnx_windows import drop_idle

_RULES = {
    **pnnx_activations.RULES,
    **pnnx_arithmetic.RULES,
    **pnnx_broadcasts.RULES,
    **pnnx_choices.RULES,
    **pnnx_moves.RULES,
    **pnnx_steps.RULES,
    **pnnx_sums.RULES,
    **pnnx_transposes.RULES,
    **pnnx_windows.RULES,
}


def prepare(arguments, _arrays):
    """Writes `out`; returns how many operators were changed."""
    model = onnx.load(arguments["onnx"])
    inferred = shape_inference.infer_shapes(model).graph
    values = (*inferred.value_info, *inferred.input, *inferred.output, *inferred.initializer)
    shapes = {value.name: _dims(value) for value in values}
    changed = _replace(model.graph, shapes) + join_reshapes(model.graph, shapes)
    for node in model.graph.node:
        if node.op_type == "Resize":
            drop_idle(node)
    onnx.save(model, arguments["out"])
    return {"changed": changed}, []


def _dims(value) -> list[int]:
    """The shape of a value or a constant; 0 where it is not known."""
    if isinstance(value, onnx.TensorProto):
        return list(value.dims)
    return [size.dim_value for size in value.type.tensor_type.shape.dim]


def _replace(graph: onnx.GraphProto, shapes: Shapes) -> int:
    """Replaces each operator that a rule has other operators for."""
    constants = {value.name: numpy_helper.to_array(value) for value in graph.initializer}
    nodes, changed = [], 0
    for node in graph.node:
        rule = _RULES.get(node.op_type)
        others = rule(graph, node, shapes, constants) if rule else None
        nodes += [node] if others is None else others
        changed += others is not None
    del graph.node[:]
    graph.node.extend(nodes)
    return changed


COMMANDS = {"prepare": prepare}
