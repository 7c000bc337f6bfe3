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
from onnx_rule import replace, shapes_of
from pnnx_axes import join_reshapes
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
    shapes = shapes_of(model)
    changed = replace(model.graph, shapes, _RULES) + join_reshapes(model.graph, shapes)
    for node in model.graph.node:
        if node.op_type == "Resize":
            drop_idle(node)
    onnx.save(model, arguments["out"])
    return {"changed": changed}, []


COMMANDS = {"prepare": prepare}
