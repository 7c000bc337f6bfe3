"""Runs an ncnn model. Commands: probe, open, infer, outputs, bench.

pnnx names the tensors in0, in1, ... and out0, out1, ... and drops the batch axis of size 1.
"""

from __future__ import annotations

import importlib.metadata
import time

import mask as masks
import ncnn
import numpy as np
from worker_host import WorkerFailure

_state: dict = {}


def probe(_arguments, _arrays):
    return {"version": importlib.metadata.version("ncnn"), "devices": ["cpu"]}, []


def open_model(arguments, _arrays):
    if arguments["device"] != "cpu":
        raise WorkerFailure(f"device {arguments['device']!r}: ncnn runs on the CPU here", hint="--device cpu")
    half, files = bool(arguments["options"].get("half")), arguments["files"]
    start = time.perf_counter()
    net = ncnn.Net()
    net.opt.num_threads = arguments["threads"]
    net.opt.use_vulkan_compute = False
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = half
    net.opt.use_bf16_storage = False
    for load, role in ((net.load_param, "model"), (net.load_model, "params")):
        if load(files[role]) != 0:
            raise WorkerFailure(f"ncnn cannot load {files[role]}")
    _state.update(net=net, specs=arguments["outputs"])
    load_ms = (time.perf_counter() - start) * 1e3
    version = importlib.metadata.version("ncnn")
    return {"version": version, "provider": "CPU", "device": masks.cpu_name(), "load_ms": load_ms}, []


def _run(arrays) -> list[np.ndarray]:
    extractor = _state["net"].create_extractor()
    given = [ncnn.Mat(np.ascontiguousarray(array[0])).clone() for array in arrays]  # a layer may write to its input
    for index, mat in enumerate(given):
        extractor.input(f"in{index}", mat)
    found = []
    for index, spec in enumerate(_state["specs"]):
        code, mat = extractor.extract(f"out{index}")
        if code != 0:
            raise WorkerFailure(f"ncnn returns no output {spec['name']!r} (code {code})")
        found.append(np.array(mat).reshape(spec["shape"]).astype(spec["dtype"], copy=False))
    return found


COMMANDS = {"probe": probe, "open": open_model, **masks.commands(lambda arrays: lambda: _run(arrays), _state)}
