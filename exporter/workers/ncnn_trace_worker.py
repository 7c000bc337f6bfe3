"""Traces an ncnn model: ncnn can start and stop at any tensor. Commands: see `subgraph_trace`."""

from __future__ import annotations

import ncnn
import numpy as np
import subgraph_trace
from ncnn_files import NcnnLayer, loaded, read_layers, read_weights
from worker_host import WorkerFailure

# ONNX's names of ncnn's layers: the graph is matched with the reference's like an ONNX graph.
_KINDS = {
    "Convolution": "Conv",
    "ConvolutionDepthWise": "Conv",
    "Deconvolution": "ConvTranspose",
    "DeconvolutionDepthWise": "ConvTranspose",
    "InnerProduct": "Gemm",
    "Gemm": "Gemm",
    "Interp": "Resize",
    "BatchNorm": "BatchNormalization",
    "ReLU": "Relu",
    "PReLU": "PRelu",
    "Permute": "Transpose",
    "Split": "Identity",
    "Noop": "Identity",
}
_BINARY = {"0": "Add", "1": "Sub", "2": "Mul", "3": "Div"}
_SCALED = ("Convolution", "ConvolutionDepthWise", "InnerProduct")  # with the parameter int8_scale_term as 8
_HIGHEST = 127
_state: dict = {}


def read_graph(arguments: dict) -> subgraph_trace.Graph:
    param, file = arguments["model"], arguments["params"]
    _, layers = read_layers(param)
    read_weights(param, file, layers)
    nodes, constants, quantized, scales = [], [], {}, {}
    split_from = {made: layer.inputs[0] for layer in layers if layer.kind == "Split" for made in layer.outputs}
    for layer in layers:
        if layer.kind == "Input":
            continue
        held = [f"{layer.name}.{index}" for index in range(min(len(layer.weights), 2))]
        constants += held if layer.inputs else layer.outputs
        nodes.append([_kind(layer), [*layer.inputs, *held], layer.outputs])
        term = int(layer.parameters.get("8", "0")) if layer.kind in _SCALED else 0
        if term:
            steps = [weights.view(np.float32) for weights in layer.weights[1:]]
            if term > 100:
                scales[layer.outputs[0]] = float(steps.pop()[0])
            step, read = 1 / float(steps[-1][0]), layer.inputs[0]
            told = {"scale": step, "zero_point": 0, "low": -_HIGHEST * step, "high": _HIGHEST * step}
            quantized[split_from.get(read, read)] = told
    ends = [f"out{index}" for index in range(len(arguments["outputs"]))]
    _state.update(net=loaded(param, file), shapes={}, scales=scales)
    return subgraph_trace.Graph(
        nodes=nodes,
        constants=constants,
        inputs=[f"in{index}" for index in range(len(arguments["inputs"]))],
        outputs=arguments["outputs"],
        quantized=quantized,
        second_names={name: end for name, end in zip(arguments["outputs"], ends, strict=True) if name != end},
        files={param: "export.param", file: "export.bin"},
    )


def _kind(layer: NcnnLayer) -> str:
    if layer.kind == "BinaryOp":
        return _BINARY.get(layer.parameters.get("0", "0"), layer.kind)
    if layer.kind == "Pooling":
        kind = "AveragePool" if layer.parameters.get("0", "0") == "1" else "MaxPool"
        return f"Global{kind}" if layer.parameters.get("4", "0") == "1" else kind
    return _KINDS.get(layer.kind, layer.kind)


def run(feeds: dict[str, np.ndarray], targets: list[str]) -> list[np.ndarray]:
    extractor, given, found = _state["net"].create_extractor(), [], []
    extractor.set_light_mode(False)
    for name, array in feeds.items():
        shape = _state["shapes"].get(name, array.shape[1:])  # ncnn drops axes of size 1
        array = np.ascontiguousarray(array.reshape(shape) if array.size == np.prod(shape) else array[0], np.float32)
        given.append(ncnn.Mat(array).clone())
        extractor.input(name, given[-1])
    for name in targets:
        code, mat = extractor.extract(name)
        if code != 0:
            raise WorkerFailure(f"ncnn gives no tensor {name!r} (code {code})")
        value = np.array(mat, np.float32) / np.float32(_state["scales"].get(name, 1.0))  # ncnn widens integers only
        _state["shapes"][name] = value.shape
        found.append(value)
    return found


COMMANDS = subgraph_trace.commands(read_graph, run)
