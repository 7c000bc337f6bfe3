"""Runs a LiteRT model. Commands: probe, open, infer, outputs, bench, operators, describe."""

from __future__ import annotations

import importlib.metadata
import time

import mask as masks
import numpy as np
from ai_edge_litert.interpreter import Interpreter
from worker_host import WorkerFailure

_VERSION = importlib.metadata.version("ai-edge-litert")
_PRODUCTS = ("Conv2d", "DepthwiseConv2d", "FullyConnected", "TransposeConv")
_state: dict = {}


def probe(_arguments, _arrays):
    return {"version": _VERSION, "devices": ["cpu"]}, []


def open_model(arguments, _arrays):
    if arguments["device"] != "cpu":
        raise WorkerFailure(f"device {arguments['device']!r}: LiteRT runs on the CPU here", hint="--device cpu")
    start = time.perf_counter()
    interpreter = _loaded(arguments["files"]["model"], arguments["threads"])
    _state.update(interpreter=interpreter, specs=arguments["outputs"])
    _state["inputs"], _state["outputs"] = _ends(interpreter, arguments)
    load_ms = (time.perf_counter() - start) * 1e3
    return {"version": _VERSION, "provider": "CPU", "device": masks.cpu_name(), "load_ms": load_ms}, []


def _loaded(file: str, threads: int) -> Interpreter:
    try:
        interpreter = Interpreter(file, num_threads=threads)
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise WorkerFailure(f"LiteRT cannot load {file}", cause=" ".join(str(error).split())[:300]) from error
    return interpreter


def describe(arguments, _arrays):
    """Returns inputs, outputs and precision of a model from another tool."""
    interpreter = _loaded(arguments["model"], 1)
    signature = next(iter(interpreter._get_full_signature_list().values()), {"inputs": {}, "outputs": {}})
    ends = {}
    for side, details in (("inputs", interpreter.get_input_details()), ("outputs", interpreter.get_output_details())):
        names = {index: name for name, index in signature[side].items()}
        ends[side] = [
            {
                "name": names.get(one["index"], one["name"]),
                "dtype": np.dtype(one["dtype"]).name,
                "shape": [int(size) for size in one["shape"]],
            }
            for one in details
        ]
    ran = operators({}, [], interpreter)[0]["operators"]
    products = [dtype for kind, dtype, *_ in ran if kind.startswith(_PRODUCTS)]
    half = any(np.dtype(one["dtype"]).name == "float16" for one in interpreter.get_tensor_details())
    dynamic = not any(kind == "Quantize" for kind, *_ in ran)
    precision = "fp16" if half else "fp32" if "int8" not in products else "w8" if dynamic else "int8"
    return {**ends, "precision": precision}, []


def _ends(interpreter, arguments) -> tuple[list[int], list[int]]:
    """Returns the tensors of inputs and outputs, by the names in the file's signature, or else by their order."""
    names = arguments["inputs"], [spec["name"] for spec in arguments["outputs"]]
    signature = next(iter(interpreter._get_full_signature_list().values()), {"inputs": {}, "outputs": {}})
    details = interpreter.get_input_details(), interpreter.get_output_details()
    found = []
    for wanted, known, ordered in zip(names, (signature["inputs"], signature["outputs"]), details, strict=True):
        if all(name in known for name in wanted):
            found.append([known[name] for name in wanted])
        elif len(wanted) == len(ordered):
            found.append([one["index"] for one in ordered])
        else:
            raise WorkerFailure(f"the file has other inputs or outputs than {', '.join(wanted)}")
    return found[0], found[1]


def _run(arrays) -> list[np.ndarray]:
    interpreter = _state["interpreter"]
    for index, array in zip(_state["inputs"], arrays, strict=True):
        interpreter.set_tensor(index, array)
    interpreter.invoke()
    found = zip(_state["outputs"], _state["specs"], strict=True)
    return [interpreter.get_tensor(index).astype(spec["dtype"], copy=False) for index, spec in found]


def operators(_arguments, _arrays, interpreter=None):
    """Returns [type, data type, provider, node] per operator: XNNPACK, or LiteRT's kernels for all others."""
    interpreter = interpreter or _state["interpreter"]
    every = interpreter._get_ops_details()
    nodes = [one for one in every if one["op_name"] != "DELEGATE"]
    constants, taken = _constants(interpreter, nodes), set()
    makers = {int(name): index for index, one in enumerate(nodes) for name in one["outputs"]}
    for delegate in (one for one in every if one["op_name"] == "DELEGATE"):
        stops, waiting = {int(name) for name in delegate["inputs"]}, [int(name) for name in delegate["outputs"]]
        while waiting:  # the replaced operators are between its outputs and its inputs
            index = makers.get(waiting.pop())
            if index is not None and index not in taken:
                taken.add(index)
                waiting += [int(name) for name in nodes[index]["inputs"] if int(name) not in stops]
    tensors = {one["index"]: one for one in interpreter.get_tensor_details()}
    ran = []
    for index, one in enumerate(nodes):
        given = [int(name) for name in one["inputs"] if int(name) >= 0]
        if one["op_name"] == "DEQUANTIZE" and given[0] in constants:
            continue  # runs once, at loading
        kinds = {np.dtype(tensors[name]["dtype"]).name for name in given if name in tensors}
        dtype = "int8" if "int8" in kinds else "float" if kinds & {"float32", "float16"} else min(kinds, default="")
        kind = "".join(part.capitalize() for part in one["op_name"].split("_"))
        name = tensors.get(int(one["outputs"][0]), {"name": ""})["name"]
        ran.append([kind, dtype, "XNNPACK" if index in taken else "LiteRT", name])
    return {"operators": ran}, []


def _constants(interpreter, nodes) -> set[int]:
    """Returns the tensors that are stored in the file."""
    made = {int(name) for one in nodes for name in one["outputs"]}
    given = {one["index"] for one in interpreter.get_input_details()}
    return {int(name) for one in nodes for name in one["inputs"]} - made - given


COMMANDS = {
    "probe": probe,
    "open": open_model,
    **masks.commands(lambda arrays: lambda: _run(arrays), _state),
    "operators": operators,
    "describe": describe,
}
