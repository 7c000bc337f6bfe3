"""Traces an MNN model: a module can start and stop at any tensor. Commands: see `subgraph_trace`."""

from __future__ import annotations

import os

import MNN.expr as expr
import MNN.nn as nn
import numpy as np
import subgraph_trace
from mnn_convert_worker import as_json
from worker_host import WorkerFailure

# ONNX's names of MNN's operators: the graph is matched with the reference's like an ONNX graph.
_KINDS = {
    "Convolution": "Conv",
    "ConvolutionDepthwise": "Conv",
    "Deconvolution": "ConvTranspose",
    "DeconvolutionDepthwise": "ConvTranspose",
    "ConvTensor": "Identity",
    "ConvertTensor": "Identity",
    "Interp": "Resize",
    "ReLU": "Relu",
    "ReLU6": "Clip",
    "PReLU": "PRelu",
    "ConvInt8": "Conv",
    "DepthwiseConvInt8": "Conv",
}
_ARITHMETIC = {
    "ADD": "Add",
    "SUB": "Sub",
    "MUL": "Mul",
    "REALDIV": "Div",
    "SIGMOID": "Sigmoid",
    "HARDSWISH": "HardSwish",
}
_CLIPS = ("BinaryOp", "ReLU6")
_OURS = (".clamped", ".copy")  # suffixes of `onnx_unquantize_worker` for tensors that it clips to 8 bits
_RAW = ".raw"  # its suffix for what it clips
_TYPES = {"f": (expr.float, np.float32), "i": (expr.int, np.int32), "b": (expr.int, np.int32)}
_state: dict = {}


def read_graph(arguments: dict) -> subgraph_trace.Graph:
    model = as_json(arguments["model"])
    names, nodes, constants, second_names = model["tensorName"], [], [], {}
    for op in model["oplists"]:
        given, made = ([names[index] for index in op.get(key, [])] for key in ("inputIndexes", "outputIndexes"))
        if op["type"] == "Const":
            constants += made
        elif op["type"] != "Input":
            held = [f"{made[0]}.weight", f"{made[0]}.bias"] if _kind(op) in ("Conv", "ConvTranspose") else []
            constants += held
            clips = op["type"] in _CLIPS and (made[0].endswith(_OURS) or given[0].endswith(_RAW))
            nodes.append(["Identity" if clips else _kind(op), [*given, *held], made])
    known = {name for _, _, made in nodes for name in made}
    for name in known:
        plain = name
        while plain.endswith(_OURS):
            plain = plain.rpartition(".")[0]
        if plain not in known and f"{name}.copy" not in second_names.values():
            second_names[plain] = name if plain not in second_names else min(second_names[plain], name, key=len)
    _state.update(file=arguments["model"], formats={}, hints=arguments["hints"])
    return subgraph_trace.Graph(
        nodes=nodes,
        constants=constants,
        inputs=arguments["inputs"],
        outputs=arguments["outputs"],
        quantized=_quantized(model, names),
        second_names=second_names,
        files={arguments["model"]: "export.mnn"},
        told={"hints": arguments["hints"]},
    )


def _kind(op: dict) -> str:
    main = op.get("main", {})
    if op["type"] in ("BinaryOp", "UnaryOp"):
        return _ARITHMETIC.get(main.get("opType"), op["type"])
    if op["type"] == "Pooling":
        kind = "AveragePool" if main.get("type") == "AVEPOOL" else "MaxPool"
        return f"Global{kind}" if main.get("isGlobal") else kind
    return _KINDS.get(op["type"], op["type"])


def _quantized(model: dict, names: list[str]) -> dict[str, dict]:
    found = {}
    for told in model.get("extraTensorDescribe", []):
        info = told.get("quantInfo")
        if info and info.get("scale"):
            scale, zero = info["scale"], info.get("zero", 0.0)
            low, high = (info.get(end, default) for end, default in (("min", -128.0), ("max", 127.0)))
            told_of = {
                "scale": scale,
                "zero_point": int(zero),
                "low": (low - zero) * scale,
                "high": (high - zero) * scale,
            }
            found[names[told["index"]]] = told_of
    return found


def run(feeds: dict[str, np.ndarray], targets: list[str]) -> list[np.ndarray]:
    threads = int(os.environ.get("OMP_NUM_THREADS", "1"))
    manager = nn.create_runtime_manager(({"backend": "CPU", "numThread": threads, "precision": "high"},))
    for hint, value in _state["hints"]:
        manager.set_hint(hint, value)
    module = nn.load_module_from_file(_state["file"], list(feeds), targets, runtime_manager=manager)
    if module is None:
        raise WorkerFailure(f"MNN opens no part of the model from {', '.join(feeds)} to {', '.join(targets)}")
    found = module.forward([_variable(name, array) for name, array in feeds.items()])
    found = list(found) if isinstance(found, (list, tuple)) else [found]
    if len(found) != len(targets):
        raise WorkerFailure(f"MNN does not run the model from {', '.join(feeds)} to {', '.join(targets)}")
    _state["formats"] |= {name: value.data_format for name, value in zip(targets, found, strict=True)}
    return [_array(value) for value in found]


def _variable(name: str, array: np.ndarray):
    """A tensor in the layout of its producer, which its readers expect."""
    kind, dtype = _TYPES[array.dtype.kind]
    value = expr.const(np.ascontiguousarray(array, dtype), list(array.shape), expr.NCHW, kind)
    wanted = _state["formats"].get(name, expr.NCHW)
    return value if wanted == expr.NCHW else expr.convert(value, wanted)


def _array(value) -> np.ndarray:
    if value.data_format == expr.NC4HW4:
        value = expr.convert(value, expr.NCHW)
    return np.array(value.read()).reshape(value.shape)


COMMANDS = subgraph_trace.commands(read_graph, run)
