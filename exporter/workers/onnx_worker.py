"""Edits and reads ONNX files: simplify, check, metadata, fp16.

Commands: finish, half, describe, small_inside, nodes.
"""

from __future__ import annotations

import os
from collections import defaultdict

import node_names
import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, external_data_helper, helper, numpy_helper
from worker_host import WorkerFailure, exhausted

# First ONNX Runtime release that reads an opset of the default domain.
_RUNTIME_OF_OPSET = {11: "1.0.0", 12: "1.2.0", 13: "1.6.0", 14: "1.7.0", 15: "1.8.0", 16: "1.11.0", 17: "1.12.0"}
_RUNTIME_OF_OPSET |= {18: "1.14.0", 19: "1.15.0", 20: "1.17.0", 21: "1.20.0"}  # earlier ones read 21, without INT4
_SMALL_BYTES = 1024  # sizes and axes are smaller, large weights are not; ONNX's tools use the same limit
# A normalization as arithmetic: (x - mean(x)) / sqrt(mean((x - mean(x)) ** 2) + epsilon) * scale + shift.
_ABOVE_ROOT = (("Add",), ("ReduceMean",), ("Pow", "Mul"), ("Sub",), ("ReduceMean",))
_BELOW_ROOT = (("Div", "Reciprocal"), ("Mul",), ("Add", "Mul"), ("Add",))
_SAME = 1e-5  # largest relative difference of an output that counts as unchanged


def finish(arguments, _arrays):
    model = onnx.load(arguments["raw"])
    notes = []
    _empty_resize_inputs_left_out(model)
    _one_box_stays_a_list(model)
    if arguments["simplify"]:
        model, note = _simplified(model, arguments["seed"], arguments.get("meanings", ()))
        notes.append(note)
    _strip(model)
    node_names.give(model.graph, arguments.get("variables", ()), arguments.get("scopes", {}))
    for key, value in arguments["metadata"].items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    onnx.checker.check_model(model, full_check=True)
    _session(model)  # the runtime refuses some models that ONNX's checker accepts
    with open(arguments["out"], "wb") as file:
        file.write(model.SerializeToString(deterministic=True))
    return {**_io(model), "notes": notes}, []


def describe(arguments, _arrays):
    """The inputs, outputs and precision of a file that segexport did not write."""
    try:
        model = onnx.load(arguments["onnx"])
        onnx.checker.check_model(model)
    except Exception as error:
        cause = " ".join(str(error).split())[:200]
        raise WorkerFailure(f"{arguments['onnx']}: not a valid ONNX model", cause=cause) from error
    kinds = {value.data_type for value in model.graph.initializer}
    quantized = any("QuantizeLinear" in node.op_type or node.op_type.startswith("QLinear") for node in model.graph.node)
    precision = "int8" if quantized else "fp16" if TensorProto.FLOAT16 in kinds else "fp32"
    if TensorProto.INT4 in kinds:
        precision = "w4a8" if quantized else "w4"
    elif not quantized and TensorProto.INT8 in kinds:
        precision = "w8"
    return {**_io(model), "precision": precision}, []


def small_inside(arguments, _arrays):
    """Writes a model that contains its small tensors; larger external tensors stay in their files.

    ONNX Runtime infers shapes before it reads external files, and cannot load a model whose sizes are in one.
    """
    path, moved = arguments["onnx"], 0
    model = onnx.load(path, load_external_data=False)
    for tensor in external_data_helper._get_all_tensors(model):
        if not external_data_helper.uses_external_data(tensor):
            continue
        values = helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize * int(np.prod(tensor.dims, dtype=np.int64))
        if values < _SMALL_BYTES:
            external_data_helper.load_external_data_for_tensor(tensor, os.path.dirname(path))
            tensor.data_location = TensorProto.DEFAULT
            del tensor.external_data[:]
            moved += 1
    with open(arguments["out"], "wb") as file:
        file.write(model.SerializeToString(deterministic=True))
    return {"moved": moved}, []


def nodes(arguments, _arrays):
    """The graph's name, and every node in order: operator, name, inputs, outputs."""
    graph = onnx.load(arguments["onnx"], load_external_data=False).graph
    nodes = [[node.op_type, node.name, list(node.input), list(node.output)] for node in graph.node]
    return {"graph": graph.name, "nodes": nodes}, []


def narrow_products(arguments, _arrays):
    """Names of the products whose weights are of this integer type in the file."""
    import narrow_weights

    kind = TensorProto.DataType.Value(arguments["kind"])
    return {"names": narrow_weights.narrow_products(onnx.load(arguments["onnx"]), kind)}, []


def half(arguments, _arrays):
    from onnxruntime.transformers.float16 import convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    model = onnx.load(arguments["fp32"])
    for index, node in enumerate(model.graph.node):
        node.name = node.name or f"{node.op_type}_{index}"
    outside = _with_weights_outside_half(model.graph)
    float_nodes = list(dict.fromkeys((*_normalizations(model.graph), *outside)))
    model = convert_float_to_float16(model, keep_io_types=True, node_block_list=float_nodes)
    OnnxModel.graph_topological_sort(model.graph)  # the converter appends its casts
    _strip(model, keep_metadata=True)
    onnx.checker.check_model(model)
    _session(model)
    with open(arguments["out"], "wb") as file:
        file.write(model.SerializeToString(deterministic=True))
    return {**_io(model), "outside": outside}, []


def _with_weights_outside_half(graph) -> list[str]:
    """Names of the products with weights that fp16 cannot hold: ONNX Runtime's converter would clip them."""
    held, limits, found = {value.name: value for value in graph.initializer}, np.finfo(np.float16), []
    for node in graph.node:
        weights = held.get(node.input[1]) if node.op_type in ("Conv", "ConvTranspose", "Gemm", "MatMul") else None
        if weights is not None and weights.data_type == TensorProto.FLOAT:
            largest = np.abs(numpy_helper.to_array(weights)).max(initial=0)
            if largest > limits.max or 0 < largest < limits.tiny:
                found.append(node.name)
    return found


def _normalizations(graph) -> list[str]:
    """Names of the nodes of normalizations that are written as arithmetic, as layer normalization is before opset 17.

    They stay in fp32: a square above 65504 is infinite in fp16. ONNX Runtime 1.23.2 also adds casts around them before
    it fuses them, then looks for an input that no longer exists and refuses the model.
    """
    before = {name: [node] for node in graph.node for name in node.output}
    after: dict[str, list] = defaultdict(list)
    for node in graph.node:
        for name in node.input:
            after[name].append(node)
    found = {}
    for root in graph.node:
        if root.op_type == "Sqrt":
            above = _chain(root, _ABOVE_ROOT, lambda node: [n for name in node.input for n in before.get(name, ())])
            if above[-1:] and above[-1].op_type != "Add":  # the square root of a mean of squares
                below = _chain(root, _BELOW_ROOT, lambda node: [n for name in node.output for n in after[name]])
                found |= {node.name: None for node in (*above, root, *below)}
    return list(found)


def _chain(root, kinds, beside) -> list:
    """Follows nodes of these kinds from `root`, one step per kind."""
    found, ends = [], [root]
    for types in kinds:
        ends = [node for end in ends for node in beside(end) if node.op_type in types]
        found += ends
    return found


def _simplified(model, seed: int, meanings=()):
    """The simplified model if it gives the same outputs on a random input, else the unchanged model."""
    try:
        import onnxslim
    except ImportError:
        return model, "not simplified: onnxslim is not installed"
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    try:
        slim = onnxslim.slim(copy)
        feed = _random_feed(model, seed, meanings)
        before, after = _session(model).run(None, feed), _session(slim).run(None, feed)
        difference = max(_relative(a, b) for a, b in zip(before, after, strict=True))
    except Exception as error:
        if exhausted(error):  # the machine's fault, not the model's
            raise
        return model, f"not simplified: {type(error).__name__}: {' '.join(str(error).split())[:160]}"
    if difference > _SAME:
        return model, f"not simplified: an output changed by {difference:.1e} (relative)"
    return slim, f"simplified: {len(model.graph.node)} to {len(slim.graph.node)} operators"


def _relative(a: np.ndarray, b: np.ndarray) -> float:
    if a.shape != b.shape or a.dtype != b.dtype:
        return float("inf")
    if a.dtype.kind != "f":
        return float((a != b).mean())
    return float(np.abs(a - b).max() / max(np.abs(a).max(), 1e-12)) if a.size else 0.0


def _random_feed(model, seed: int, meanings=()) -> dict[str, np.ndarray]:
    """Random inputs; an input for the image's size gets the size of the noise, one for its scale gets 1."""
    generator = np.random.default_rng(seed)
    feed, inputs = {}, _true_inputs(model)
    shapes = {
        value.name: [size if size > 0 else (1 if axis == 0 else 128) for axis, size in enumerate(_shape(value))]
        for value in inputs
    }
    sides = next((shape[2:] for shape in shapes.values() if len(shape) == 4), [1, 1])
    fixed = {"image_size": [sides], "scale_factor": [[1.0, 1.0]]}
    meaning = dict(zip(shapes, meanings, strict=False))
    for value in inputs:
        dtype = helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        known = fixed.get(meaning.get(value.name, ""))
        drawn = generator.standard_normal(shapes[value.name]) if known is None else np.array(known)
        feed[value.name] = drawn.astype(dtype)
    return feed


def _session(model):
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    try:
        return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise WorkerFailure("ONNX Runtime refuses the model", cause=" ".join(str(error).split())[:300]) from error


def _empty_resize_inputs_left_out(model) -> None:
    """Sets Resize's unused inputs to "": an empty constant counts as given once a pass wraps it in a Cast."""
    empty = {value.name for value in model.graph.initializer if 0 in value.dims}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value" and 0 in node.attribute[0].t.dims:
            empty.update(node.output)
    for node in model.graph.node:
        if node.op_type == "Resize":
            for index, name in enumerate(node.input):
                if name in empty:
                    node.input[index] = ""


def _one_box_stays_a_list(model) -> None:
    """Adds the axis that paddle2onnx omits when it squeezes a column of selected boxes: one box became a scalar."""
    producers = {name: node for node in model.graph.node for name in node.output}
    opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    for node in model.graph.node:
        column = producers.get(node.input[0]) if node.op_type == "Squeeze" and len(node.input) == 1 else None
        if column is None or node.attribute or column.op_type != "Gather":
            continue
        boxes = producers.get(column.input[0])
        if boxes is None or boxes.op_type != "NonMaxSuppression":
            continue
        if opset < 13:
            node.attribute.append(helper.make_attribute("axes", [1]))
            continue
        axes = f"{node.output[0]}.axes"
        model.graph.initializer.append(helper.make_tensor(axes, TensorProto.INT64, [1], [1]))
        node.input.append(axes)


def _strip(model, *, keep_metadata: bool = False) -> None:
    """Removes the records of how the model was made; its computation does not change."""
    model.producer_name, model.producer_version, model.doc_string = "segexport", "", ""
    model.graph.doc_string = ""
    if not keep_metadata:
        del model.metadata_props[:]
    for node in model.graph.node:
        node.doc_string = ""
        for index in reversed(range(len(node.attribute))):
            if node.attribute[index].name in ("op_callstack", "op_namescope"):
                del node.attribute[index]


def _true_inputs(model):
    constants = {value.name for value in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in constants]


def _shape(value) -> list[int]:
    return [
        d.dim_value if d.HasField("dim_value") and d.dim_value > 0 else -1 for d in value.type.tensor_type.shape.dim
    ]


def _io(model) -> dict:
    def describe(value):
        dtype = helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        return {"name": value.name, "dtype": str(dtype), "shape": _shape(value)}

    opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    return {
        "inputs": [describe(value) for value in _true_inputs(model)],
        "outputs": [describe(value) for value in model.graph.output],
        "min_runtime_version": _RUNTIME_OF_OPSET.get(opset, "1.13.0"),
    }


COMMANDS = {"finish": finish, "half": half, "describe": describe, "small_inside": small_inside, "nodes": nodes}
COMMANDS |= {"narrow_products": narrow_products}
