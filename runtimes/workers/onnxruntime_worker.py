"""Runs an ONNX model in ONNX Runtime. Commands: probe, open, infer, outputs, bench, operators."""

from __future__ import annotations

import json
import os
import time

import devices
import mask as masks
import onnxruntime as ort
from worker_host import WorkerFailure

_PROVIDERS = {"cpu": "CPUExecutionProvider", "gpu": "CUDAExecutionProvider"}
_state: dict = {}


def probe(_arguments, _arrays):
    available = ort.get_available_providers()
    return {"version": ort.__version__, "devices": [d for d, p in _PROVIDERS.items() if p in available]}, []


def open_model(arguments, _arrays):
    kind, index = devices.parsed(arguments["device"], "ONNX Runtime")
    provider = _PROVIDERS[kind]
    available = ort.get_available_providers()
    if provider not in available:
        raise devices.absent(
            arguments["device"],
            f"ONNX Runtime {ort.__version__}",
            f"its providers are {', '.join(available)}",
            "onnxruntime",
            f"onnxruntime-gpu=={ort.__version__}",
        )
    options = ort.SessionOptions()
    options.intra_op_num_threads = arguments["threads"]
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    extra = arguments["options"]
    if extra.get("int8_as_on_arm"):  # signed 8-bit activations then round as on ARM
        options.add_session_config_entry("session.qdqisint8allowed", "1")
    if extra.get("profile"):  # a path prefix; `operators` reads the profile that the run writes there
        options.enable_profiling = True
        options.profile_file_prefix = extra["profile"]
    start = time.perf_counter()
    try:
        chosen = (provider, {"device_id": str(index)}) if kind == "gpu" else provider
        session = ort.InferenceSession(arguments["files"]["model"], options, providers=[chosen])
    except Exception as error:
        raise WorkerFailure(f"ONNX Runtime cannot load {arguments['files']['model']}", cause=_short(error)) from error
    used = session.get_providers()[0]
    if used != provider:  # ONNX Runtime falls back to the CPU with only a line on stderr
        raise WorkerFailure(
            f"device {arguments['device']!r}: ONNX Runtime would use {used} instead",
            cause=f"the provider is installed, but could not start; {devices.nvidia()}",
            hint="check the driver, and the CUDA and cuDNN that this onnxruntime-gpu needs; here: --device cpu",
        )
    _state.update(session=session, specs=arguments["outputs"], names=[i.name for i in session.get_inputs()])
    device = masks.cpu_name() if kind == "cpu" else f"cuda:{index}"
    load_ms = (time.perf_counter() - start) * 1e3
    return {"version": ort.__version__, "provider": used, "device": device, "load_ms": load_ms}, []


def _runner(arrays):
    session, feed = _state["session"], dict(zip(_state["names"], arrays, strict=True))
    names = [spec["name"] for spec in _state["specs"]]
    return lambda: session.run(names, feed)


def operators(_arguments, arrays):
    """Runs once and returns [type, input type, provider, node] per operator of the optimized graph."""
    _runner(arrays)()
    file = _state["session"].end_profiling()
    with open(file) as stream:
        events = json.load(stream)
    os.remove(file)
    ran = []
    for event in events:
        name, found = event.get("name", ""), event.get("args", {})
        if event.get("cat") == "Node" and name.endswith("_kernel_time"):
            given = [next(iter(value)) for value in found.get("input_type_shape", [])]
            made = [next(iter(value)) for value in found.get("output_type_shape", [])]
            dtype = next((dtype for dtype in (*given, *made) if dtype != "bool"), "bool")
            ran.append([found["op_name"], dtype, found.get("provider", ""), name[: -len("_kernel_time")]])
    return {"operators": ran}, []


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


COMMANDS = {"probe": probe, "open": open_model, **masks.commands(_runner, _state), "operators": operators}
