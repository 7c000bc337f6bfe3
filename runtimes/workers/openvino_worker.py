"""Runs a model in OpenVINO. Commands: probe, open, infer, outputs, bench, operators."""

from __future__ import annotations

import time

import devices
import mask as masks
import openvino as ov
from worker_host import WorkerFailure

_TYPES = {"f32": "float", "f16": "float16", "bf16": "bfloat16", "I8": "int8", "i8": "int8"}  # ONNX's names
_NOTHING_RUNS = ("Input", "Output", "Const")
_state: dict = {}


def probe(_arguments, _arrays):
    kinds = {name.split(".")[0].lower() for name in ov.Core().available_devices}
    return {"version": _version(), "devices": sorted(kinds & {"cpu", "gpu"})}, []


def open_model(arguments, _arrays):
    kind, index = devices.parsed(arguments["device"], "OpenVINO")
    core = ov.Core()
    device = "CPU" if kind == "cpu" else f"GPU.{index}"
    available = core.available_devices
    if device not in available and not (device == "GPU.0" and "GPU" in available):
        raise WorkerFailure(
            f"device {arguments['device']!r}: OpenVINO sees {', '.join(available)} here",
            cause="its GPUs are Intel's, by Intel's compute runtime",
            hint="use cpu, or install the driver of an Intel GPU",
        )
    file, threads = arguments["files"]["model"], arguments["threads"]
    half = arguments["options"].get("precision") == "fp16"
    half = half and "FP16" in core.get_property(device, "OPTIMIZATION_CAPABILITIES")
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f16" if half else "f32"}
    if kind == "cpu":
        # Not pinned to a core: another timed process may run on it.
        settings |= {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "ENABLE_CPU_PINNING": False}
    start = time.perf_counter()
    try:
        compiled = core.compile_model(core.read_model(file), device, settings)
    except Exception as error:
        raise WorkerFailure(f"OpenVINO cannot load {file}", cause=_short(error)) from error
    names = [spec["name"] for spec in arguments["outputs"]]
    _state.update(
        compiled=compiled,
        request=compiled.create_infer_request(),
        specs=arguments["outputs"],
        outputs=[compiled.output(name) for name in names],
    )
    return {
        "version": _version(),
        "provider": f"{device}, floats in {settings['INFERENCE_PRECISION_HINT']}",
        "device": core.get_property(device, "FULL_DEVICE_NAME"),
        "load_ms": (time.perf_counter() - start) * 1e3,
    }, []


def _runner(arrays):
    request, outputs = _state["request"], _state["outputs"]

    def run():
        request.infer(arrays, share_inputs=True, share_outputs=True)
        return [request.get_tensor(output).data for output in outputs]

    return run


def outputs(_arguments, arrays):
    return {}, [array.copy() for array in _runner(arrays)()]


def operators(_arguments, arrays):
    """Runs once and returns [type, arithmetic type, kernel, node] per operator of the compiled graph."""
    _runner(arrays)()
    ran = []
    for node in _state["compiled"].get_runtime_model().get_ordered_ops():
        kind = _told(node, "layerType")
        if kind not in _NOTHING_RUNS:
            # The kernel name ends with its type. `runtimePrecision` would report the fp16 of weights that it widens.
            kernel, _, dtype = _told(node, "primitiveType").rpartition("_")
            name = (_told(node, "originalLayersNames") or node.get_friendly_name()).split(",")[0]
            ran.append([kind, _TYPES.get(dtype, dtype), f"CPU {kernel}" if kernel != "unknown" else "CPU", name])
    return {"operators": ran}, []


def _told(node, key: str) -> str:
    told = node.get_rt_info()
    return str(told[key].value) if key in told else ""


def _version() -> str:
    return ov.__version__.split("-")[0]


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


COMMANDS = {
    "probe": probe,
    "open": open_model,
    **masks.commands(_runner, _state),
    "outputs": outputs,
    "operators": operators,
}
