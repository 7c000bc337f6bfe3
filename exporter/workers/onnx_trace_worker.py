"""Compares intermediate tensors of an ONNX model with the reference's. Commands: read, whole, accumulated, local, save.

The reference's values are in .npy files, named after the model's tensors.
"""

from __future__ import annotations

import os

import numpy as np
import onnx
import onnxruntime as ort
from difference import difference
from onnx import TensorProto, helper, numpy_helper
from worker_host import WorkerFailure

_NUMPY = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(bool)": np.bool_,
}
_state: dict = {}


def read(arguments, _arrays):
    """Opens a model and returns its graph: nodes, constants, ends, and the scale of every quantized tensor."""
    model = onnx.load(arguments["model"])
    graph = model.graph
    producers = {name: node for node in graph.node for name in node.output}
    constants = {value.name: numpy_helper.to_array(value) for value in graph.initializer}
    _state.update(
        model=model,
        producers=producers,
        constants=constants,
        types=_types(model),
        observed=_observed(graph),
    )
    nodes = [[node.op_type, list(node.input), list(node.output)] for node in graph.node]
    inputs = [value.name for value in graph.input if value.name not in constants]
    return {
        "nodes": nodes,
        "constants": sorted(constants),
        "inputs": inputs,
        "outputs": [value.name for value in graph.output],
        "graph": graph.name,
        "names": {node.output[0]: node.name for node in graph.node if node.name},
        "quantized": _quantized(graph, constants),
    }, []


def whole(arguments, arrays):
    """Compares the unchanged model's outputs with the reference's."""
    session = _session(_state["model"])
    feed = {value.name: array for value, array in zip(session.get_inputs(), arrays, strict=True)}
    values = session.run(None, feed)
    found = {}
    for output, value in zip(session.get_outputs(), values, strict=True):
        if output.name in arguments["files"]:
            found[output.name] = difference(np.load(arguments["files"][output.name], mmap_mode="r"), value)
    return {"differences": found}, []


def accumulated(arguments, arrays):
    """Runs the whole model on the image, with the tensors of `files` as further outputs."""
    model, taps = onnx.ModelProto(), {name: _state["observed"].get(name, name) for name in arguments["files"]}
    model.CopyFrom(_state["model"])
    present = {output.name for output in model.graph.output}
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in {*taps.values()} - present)
    session = _session(model)
    feed = {value.name: array for value, array in zip(session.get_inputs(), arrays, strict=True)}
    values = session.run(list(taps.values()), feed)
    return {"differences": _compared(taps, values, arguments["files"])}, []


def local(arguments, _arrays):
    """Runs each target alone: the nodes between it and the stops before it, fed with the reference's tensors."""
    targets, files = arguments["targets"], arguments["files"]
    model, feeds, outputs = _isolated(targets, set(arguments["stops"]), files)
    session = _session(model)
    feed = {value.name: np.load(files[value.name]).astype(_NUMPY[value.type]) for value in session.get_inputs()}
    values = session.run(outputs, feed)
    names = dict.fromkeys(targets)
    return {"differences": _compared(names, values, files), "sources": feeds}, []


def save(arguments, _arrays):
    """Writes the nodes of one target as a separate model; returns its inputs, in order."""
    model, feeds, outputs = _isolated([arguments["target"]], set(arguments["stops"]), arguments["files"])
    onnx.save(model, arguments["out"])
    return {"inputs": feeds, "outputs": outputs}, []


def _compared(names, values, files) -> dict:
    return {
        name: difference(np.load(files[name], mmap_mode="r"), np.asarray(value))
        for name, value in zip(names, values, strict=True)
    }


def _isolated(targets: list[str], stops: set[str], files: dict[str, str]):
    """A model of the targets' nodes, copied per target so that targets are independent; inputs sized as the files."""
    graph, producers, constants = _state["model"].graph, _state["producers"], _state["constants"]
    types, order = _state["types"], {id(node): index for index, node in enumerate(graph.node)}
    nodes, feeds, used, outputs = [], {}, set(), []
    for number, target in enumerate(targets):
        end = _state["observed"].get(target, target)
        mine, waiting = {}, [end]
        while waiting:
            name = waiting.pop()
            node = producers.get(name)
            if node is None:
                if name in constants:
                    used.add(name)
                else:
                    feeds[name] = None
            elif name in stops and name != target:
                feeds[name] = None
            elif id(node) not in mine:
                mine[id(node)] = node
                waiting += [inner for inner in node.input if inner]
        own = {name for node in mine.values() for name in node.output}
        for node in sorted(mine.values(), key=lambda node: order[id(node)]):
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            copy.name = f"s{number}.{node.name}"
            for index, name in enumerate(node.output):
                copy.output[index] = f"s{number}.{name}" if name else ""
            for index, name in enumerate(node.input):
                if name in own and (name == target or name not in stops):
                    copy.input[index] = f"s{number}.{name}"
                elif name in feeds and types.get(name) == TensorProto.FLOAT16:
                    copy.input[index] = f"{name}.half"
            nodes.append(copy)
        outputs.append(f"s{number}.{end}")
    inputs, casts = [], []
    for name in feeds:
        kind = types.get(name, TensorProto.FLOAT)
        if kind == TensorProto.FLOAT16:
            casts.append(helper.make_node("Cast", [name], [f"{name}.half"], to=TensorProto.FLOAT16))
            kind = TensorProto.FLOAT
        if name not in files:
            raise WorkerFailure(f"{targets}: the reference has no tensor for {name!r}, which they read")
        inputs.append(helper.make_tensor_value_info(name, kind, np.load(files[name], mmap_mode="r").shape))
    initializers = [value for value in graph.initializer if value.name in used]
    out = [onnx.ValueInfoProto(name=name) for name in outputs]
    made = helper.make_graph([*casts, *nodes], "isolated", inputs, out, initializers)
    model = helper.make_model(made, opset_imports=list(_state["model"].opset_import))
    model.ir_version = _state["model"].ir_version
    return model, list(feeds), outputs


def _types(model) -> dict[str, int]:
    inferred = onnx.shape_inference.infer_shapes(model)
    values = (*inferred.graph.value_info, *inferred.graph.input, *inferred.graph.output)
    return {value.name: value.type.tensor_type.elem_type for value in values}


def _observed(graph) -> dict[str, str]:
    """Tensor -> the dequantized tensor that its readers read, for tensors that are read in 8 bits."""
    readers: dict[str, list] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    seen = {}
    for name, nodes in readers.items():
        for node in nodes:
            if node.op_type == "QuantizeLinear" and node.input[0] == name:
                back = [other for other in readers.get(node.output[0], []) if other.op_type == "DequantizeLinear"]
                if back:
                    seen[name] = back[0].output[0]
    return seen


def _quantized(graph, constants) -> dict[str, dict]:
    """Tensor -> scale, zero point, and the lowest and highest value that it can represent."""
    found = {}
    for node in graph.node:
        if node.op_type == "QuantizeLinear" and all(name in constants for name in node.input[1:]):
            scale = constants[node.input[1]]
            zero = constants[node.input[2]] if len(node.input) > 2 else np.zeros((), np.uint8)
            if scale.size == 1 and zero.dtype in (np.uint8, np.int8):
                bounds, step, origin = np.iinfo(zero.dtype), float(scale.reshape(-1)[0]), int(zero.reshape(-1)[0])
                low, high = (bounds.min - origin) * step, (bounds.max - origin) * step
                found[node.input[0]] = {"scale": step, "zero_point": origin, "low": low, "high": high}
    return found


def _session(model):
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", "1"))
    try:
        return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise WorkerFailure("ONNX Runtime refuses the model", cause=" ".join(str(error).split())[:300]) from error


COMMANDS = {"read": read, "whole": whole, "accumulated": accumulated, "local": local, "save": save}
