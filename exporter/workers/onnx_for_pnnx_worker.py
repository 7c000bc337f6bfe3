"""Writes an ONNX model in the form that pnnx converts without loss. Command: prepare."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper, shape_inference


def prepare(arguments, _arrays):
    """Writes `out`; returns how many operators were changed.

    pnnx omits the sizes of a `Split` into equal parts that does not state them; ncnn then crashes on the layer.
    """
    model = onnx.load(arguments["onnx"])
    inferred = shape_inference.infer_shapes(model).graph
    values = (*inferred.value_info, *inferred.input, *inferred.output)
    shapes = {value.name: [size.dim_value for size in value.type.tensor_type.shape.dim] for value in values}
    changed = 0
    for node in model.graph.node:
        names = [attribute.name for attribute in node.attribute]
        if node.op_type != "Split" or len(node.input) > 1 or "split" in names:
            continue
        axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 0)
        sizes = [shapes[name][axis] for name in node.output]
        model.graph.initializer.append(numpy_helper.from_array(np.array(sizes, np.int64), f"{node.output[0]}.sizes"))
        node.input.append(f"{node.output[0]}.sizes")
        for index in reversed(range(len(node.attribute))):
            if node.attribute[index].name == "num_outputs":
                del node.attribute[index]
        changed += 1
    for node in model.graph.node:
        if node.op_type == "Resize":
            _drop_idle(node)
    onnx.save(model, arguments["out"])
    return {"changed": changed}, []


def _drop_idle(node) -> None:
    """Removes the attributes of a resize that its mode does not use; with them, pnnx does not convert it."""
    values = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
    mode, grid = values.get("mode", b"nearest"), values.get("coordinate_transformation_mode", b"half_pixel")
    idle = set() if mode == b"nearest" else {"nearest_mode"}
    idle |= set() if mode == b"cubic" else {"cubic_coeff_a", "exclude_outside"}
    idle |= set() if grid == b"tf_crop_and_resize" else {"extrapolation_value"}
    kept = [attribute for attribute in node.attribute if attribute.name not in idle]
    del node.attribute[:]
    node.attribute.extend(kept)


COMMANDS = {"prepare": prepare}
