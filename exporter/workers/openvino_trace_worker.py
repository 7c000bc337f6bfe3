"""Compares intermediate tensors of an OpenVINO model with the reference's.

Commands: read, whole, accumulated, local, save.
The reference's values are in .npy files, named after the model's tensors.
"""

from __future__ import annotations

import os

import numpy as np
import openvino as ov
from difference import difference
from openvino import opset8
from openvino_worker import save as save_files
from worker_host import WorkerFailure

# OpenVINO's operator -> ONNX's: the graph is matched with the reference's as an ONNX graph is.
_KINDS = {
    "Convolution": "Conv",
    "GroupConvolution": "Conv",
    "ConvolutionBackpropData": "ConvTranspose",
    "GroupConvolutionBackpropData": "ConvTranspose",
    "Subtract": "Sub",
    "Multiply": "Mul",
    "Divide": "Div",
    "Interpolate": "Resize",
    "AvgPool": "AveragePool",
    "ReLU": "Relu",
    "Clamp": "Clip",
    "PReLU": "PRelu",
    "SoftMax": "Softmax",
    "HSwish": "HardSwish",
    "Convert": "Cast",
    "FakeQuantize": "QuantizeLinear",
}
_PRODUCTS = ("Conv", "ConvTranspose", "MatMul")
_ROUNDED = ("QuantizeLinear", "DequantizeLinear")
_state: dict = {}


def read(arguments, _arrays):
    """Opens a model and returns its graph: nodes, constants, ends, and the scale of every quantized tensor."""
    model = ov.Core().read_model(arguments["model"])
    _state.update(model=model)
    nodes, constants, quantized, kinds = [], [], {}, {}
    rounded, observed = {}, {}  # rounded tensor -> its source; source -> the rounded tensor that its readers read
    for node in model.get_ordered_ops():
        kind = node.get_type_name()
        given = [_name(value.get_source_output()) for value in node.inputs()]
        if kind in ("Parameter", "Result"):
            continue
        if kind == "Constant":
            constants.append(_name(node.output(0)))
            continue
        fixed = [name in constants for name in given]
        kind = _KINDS.get(kind, kind)
        if (
            kind in ("Sub", "Mul")
            and any(fixed)
            and kinds.get(given[fixed.index(False)] if not all(fixed) else "")
            in (
                *_ROUNDED,
                "Cast",
            )
        ):
            kind = "DequantizeLinear"
        before = given[0] if given else ""
        if kind == "Add" and any(fixed) and kinds.get(before) in _PRODUCTS and nodes and nodes[-1][2] == [before]:
            kind, given = kinds[before], [*nodes.pop()[1], given[1]]  # a product with its bias is one operator
        if kind == "QuantizeLinear" and all(fixed[1:]):
            _note(quantized, before, node)
        made = [_name(port) for port in node.outputs()]
        if kind == "QuantizeLinear" or (kind in ("Cast", "DequantizeLinear") and before in rounded):
            rounded[made[0]] = rounded.get(before, before)
            observed[rounded[made[0]]] = made[0]
        nodes.append([kind, given, made])
        kinds.update(dict.fromkeys(made, kind))
        for port, name in zip(node.outputs(), made, strict=True):
            nodes += [["Identity", [name], [other]] for other in sorted(port.get_names()) if other != name]
    _state["observed"] = observed
    return {
        "nodes": nodes,
        "constants": constants,
        "inputs": [_name(port) for port in model.inputs],
        "outputs": [_name(value.get_node().input(0).get_source_output()) for value in model.outputs],
        "quantized": quantized,
    }, []


def whole(arguments, arrays):
    """Compares the unchanged model's outputs with the reference's."""
    model = _state["model"]
    names = [_name(value.get_node().input(0).get_source_output()) for value in model.outputs]
    values = _run(model, arrays)
    found = {}
    for name, value in zip(names, values, strict=True):
        if name in arguments["files"]:
            found[name] = difference(np.load(arguments["files"][name], mmap_mode="r"), value)
    return {"differences": found}, []


def accumulated(arguments, arrays):
    """Runs the whole model on the image, with the tensors of `files` as outputs."""
    model = _state["model"].clone()
    ports = _ports(model)
    ends = [opset8.result(ports[_seen(name)]) for name in arguments["files"]]
    tapped = ov.Model(ends, model.get_parameters(), "tapped")
    return {"differences": _compared(arguments["files"], _run(tapped, arrays))}, []


def local(arguments, _arrays):
    """Runs each target alone: the operators between it and the stops before it, fed with the reference's tensors."""
    files = arguments["files"]
    model, feeds = _isolated(arguments["targets"], arguments["stops"], files)
    values = _run(model, [np.load(files[name]) for name in feeds])
    return {
        "differences": _compared({name: files[name] for name in arguments["targets"]}, values),
        "sources": feeds,
    }, []


def save(arguments, _arrays):
    """Writes the operators of one target as a separate model; returns its inputs, in order."""
    model, feeds = _isolated([arguments["target"]], arguments["stops"], arguments["files"])
    save_files(model, arguments["out"], half=False)
    return {"inputs": feeds, "outputs": [arguments["target"]]}, []


def _isolated(targets: list[str], stops: list[str], files: dict[str, str]):
    """A model of the targets' operators, copied for each target so that targets are independent, and its inputs' names.

    Inputs are sized as the files. The operators that round a tensor to 8 bits are part of the tensor.
    """
    feeds, ends = {}, []
    for target in targets:
        ports = _ports(_state["model"].clone())
        for name in stops:
            if name == target or name not in files or name not in ports:
                continue
            if name not in feeds:
                shape = list(np.load(files[name], mmap_mode="r").shape)
                feeds[name] = opset8.parameter(shape, ports[name].get_element_type())
            for reader in ports[name].get_target_inputs():
                if reader.get_node().get_type_name() != "Result":
                    reader.replace_source_output(feeds[name].output(0))
        ends.append(opset8.result(ports[_seen(target)]))
    used = _reached(ends)
    chosen = {name: feed for name, feed in feeds.items() if feed.get_friendly_name() in used}
    lacking = used - {feed.get_friendly_name() for feed in chosen.values()}
    if lacking:
        raise WorkerFailure(f"{targets}: the reference has no tensor for {', '.join(sorted(lacking))}, which they read")
    return ov.Model(ends, list(chosen.values()), "isolated"), list(chosen)


def _reached(ends) -> set[str]:
    """Names of the parameters that these results depend on."""
    found = set()
    for end in ends:  # separate graphs, whose names may be the same
        seen, waiting = set(), [end]
        while waiting:
            node = waiting.pop()
            if node.get_friendly_name() not in seen:
                seen.add(node.get_friendly_name())
                if node.get_type_name() == "Parameter":
                    found.add(node.get_friendly_name())
                waiting += [value.get_source_output().get_node() for value in node.inputs()]
    return found


def _seen(tensor: str) -> str:
    """The rounded tensor that the readers of a tensor read, if they read it in 8 bits."""
    return _state["observed"].get(tensor, tensor)


def _run(model, arrays) -> list[np.ndarray]:
    settings = {"INFERENCE_NUM_THREADS": int(os.environ.get("OMP_NUM_THREADS", "1")), "INFERENCE_PRECISION_HINT": "f32"}
    try:
        compiled = ov.Core().compile_model(model, "CPU", settings)
        given = [
            array.astype(port.element_type.to_dtype()) for port, array in zip(compiled.inputs, arrays, strict=True)
        ]
        found = compiled.create_infer_request().infer(given)
    except Exception as error:
        raise WorkerFailure("OpenVINO does not run the model", cause=" ".join(str(error).split())[:300]) from error
    return [np.array(found[port]) for port in compiled.outputs]


def _compared(files: dict[str, str], values) -> dict:
    pairs = zip(files.items(), values, strict=True)
    return {name: difference(np.load(file, mmap_mode="r"), value) for (name, file), value in pairs}


def _ports(model) -> dict:
    """Name -> output of an operator; an output may have several names."""
    found = {}
    for node in model.get_ordered_ops():
        if node.get_type_name() != "Result":
            for port in node.outputs():
                found |= dict.fromkeys({_name(port), *port.get_names()}, port)
    return found


def _name(port) -> str:
    """The tensor's name; without one, its operator's name and the output's index."""
    return min(port.get_names(), default=f"{port.get_node().get_friendly_name()}.{port.get_index()}")


def _note(quantized: dict, tensor: str, node) -> None:
    """Records scale, zero point, lowest and highest value of a tensor with 256 levels."""
    low, high = (node.input(index).get_source_output().get_node().get_data() for index in (1, 2))
    if low.size == high.size == 1 and node.get_attributes().get("levels") == 256:
        low, high = float(low.reshape(-1)[0]), float(high.reshape(-1)[0])
        step = (high - low) / 255.0
        quantized[tensor] = {"scale": step, "zero_point": round(-low / step), "low": low, "high": high}


COMMANDS = {"read": read, "whole": whole, "accumulated": accumulated, "local": local, "save": save}
