"""Runs an ncnn model. Commands: probe, open, infer, outputs, bench, operators.

pnnx names the tensors in0, in1, ... and out0, out1, ... and drops the batch axis of size 1.
"""

from __future__ import annotations

import importlib.metadata
import time

import mask as masks
import ncnn
import numpy as np
from worker_host import WorkerFailure

_INT8 = {"Convolution": 8, "ConvolutionDepthWise": 8, "InnerProduct": 8, "Gemm": 18}  # the parameter int8_scale_term
_FLOATS = {4: "float", 2: "float16", 1: "int8"}  # by bytes per value
_state: dict = {}


def probe(_arguments, _arrays):
    return {"version": importlib.metadata.version("ncnn"), "devices": ["cpu"]}, []


def open_model(arguments, _arrays):
    if arguments["device"] != "cpu":
        raise WorkerFailure(f"device {arguments['device']!r}: ncnn runs on the CPU here", hint="--device cpu")
    precision, files = arguments["options"].get("precision"), arguments["files"]
    half, brain = precision == "fp16", precision == "bf16"
    start = time.perf_counter()
    net = ncnn.Net()
    net.opt.num_threads = arguments["threads"]
    net.opt.use_vulkan_compute = False
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = half
    net.opt.use_bf16_packed = net.opt.use_bf16_storage = brain
    for load, role in ((net.load_param, "model"), (net.load_model, "params")):
        if load(files[role]) != 0:
            raise WorkerFailure(f"ncnn cannot load {files[role]}")
    _state.update(net=net, specs=arguments["outputs"], file=files["model"], half="bfloat16" if brain else "float16")
    load_ms = (time.perf_counter() - start) * 1e3
    version = importlib.metadata.version("ncnn")
    return {"version": version, "provider": "CPU", "device": masks.cpu_name(), "load_ms": load_ms}, []


def _fed(arrays):
    extractor = _state["net"].create_extractor()
    given = [ncnn.Mat(np.ascontiguousarray(array[0])).clone() for array in arrays]  # a layer may write to its input
    for index, mat in enumerate(given):
        extractor.input(f"in{index}", mat)
    return extractor


def _run(arrays) -> list[np.ndarray]:
    extractor = _fed(arrays)
    found = []
    for index, spec in enumerate(_state["specs"]):
        code, mat = extractor.extract(f"out{index}")
        if code != 0:
            raise WorkerFailure(f"ncnn returns no output {spec['name']!r} (code {code})")
        found.append(np.array(mat).reshape(spec["shape"]).astype(spec["dtype"], copy=False))
    return found


def operators(_arguments, arrays):
    """Runs once and returns [type, data type, provider, layer] per layer.

    A layer with int8 scales computes in int8. Others compute in the type of their output.
    """
    extractor, ran = _fed(arrays), []
    extractor.set_light_mode(False)  # keeps each layer's output
    with open(_state["file"]) as stream:
        lines = [line.split() for line in stream.read().splitlines()[2:] if line.strip()]
    for kind, name, given, made, *rest in lines:
        tops, parameters = rest[int(given) : int(given) + int(made)], rest[int(given) + int(made) :]
        scaled = kind in _INT8 and any(
            word.startswith(f"{_INT8[kind]}=") and int(word.split("=")[1]) for word in parameters
        )
        dtype = "int8" if scaled else _left(extractor, tops[0])
        if kind != "Input":
            ran.append([kind, dtype, "CPU", name])
    return {"operators": ran}, []


def _left(extractor, blob: str) -> str:
    code, mat = extractor.extract(blob, 1)  # 1: as it is stored
    if code != 0:
        raise WorkerFailure(f"ncnn gives no tensor {blob!r} (code {code})")
    found = _FLOATS[mat.elemsize // mat.elempack]
    return _state["half"] if found == "float16" else found


COMMANDS = {
    "probe": probe,
    "open": open_model,
    **masks.commands(lambda arrays: lambda: _run(arrays), _state),
    "operators": operators,
}
