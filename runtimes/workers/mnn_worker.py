"""Runs an MNN model. Commands: probe, open, infer, outputs, bench, operators."""

from __future__ import annotations

import time

import mask as masks
import MNN
import MNN.expr as expr
import MNN.nn as nn
import numpy as np
from worker_host import WorkerFailure

_TYPES = {"f": (expr.float, np.float32), "i": (expr.int, np.int32), "u": (expr.uint8, np.uint8)}
_HALIDE = {"f": MNN.Halide_Type_Float, "i": MNN.Halide_Type_Int, "u": MNN.Halide_Type_Uint8}
_state: dict = {}


def probe(_arguments, _arrays):
    return {"version": MNN.version(), "devices": ["cpu"]}, []


def open_model(arguments, _arrays):
    if arguments["device"] != "cpu":
        raise WorkerFailure(f"device {arguments['device']!r}: MNN runs on the CPU here", hint="--device cpu")
    file, specs = arguments["files"]["model"], arguments["outputs"]
    half = arguments["options"].get("half")  # also computes in fp16 if the CPU supports it
    config = {"backend": "CPU", "numThread": arguments["threads"], "precision": "low" if half else "high"}
    start = time.perf_counter()
    manager = nn.create_runtime_manager((config,))
    for hint, value in arguments["options"].get("hints", ()):
        manager.set_hint(hint, value)
    given, made = arguments["inputs"], [spec["name"] for spec in specs]
    module = nn.load_module_from_file(file, given, made, runtime_manager=manager)
    if module is None:
        raise WorkerFailure(f"MNN cannot load {file}")
    _state.update(module=module, manager=manager, specs=specs, file=file, config=config, names=given)
    load_ms = (time.perf_counter() - start) * 1e3
    return {"version": MNN.version(), "provider": "CPU", "device": masks.cpu_name(), "load_ms": load_ms}, []


def _run(arrays) -> list[np.ndarray]:
    found = _state["module"].forward([_variable(array) for array in arrays])
    found = found if isinstance(found, (list, tuple)) else [found]
    return [_array(value, spec) for value, spec in zip(found, _state["specs"], strict=True)]


def _variable(array: np.ndarray):
    kind, dtype = _TYPES[array.dtype.kind]
    return expr.const(np.ascontiguousarray(array, dtype), list(array.shape), expr.NCHW, kind)


def _array(value, spec: dict) -> np.ndarray:
    if value.data_format == expr.NC4HW4:
        value = expr.convert(value, expr.NCHW)
    return np.asarray(value.read()).reshape(value.shape).astype(spec["dtype"], copy=False)


def operators(_arguments, arrays):
    """Runs once and returns [type, data type, provider, node] per operator that ran."""
    interpreter = MNN.Interpreter(_state["file"])
    session = interpreter.createSession(dict(_state["config"]))
    for name, array in zip(_state["names"], arrays, strict=True):
        target = interpreter.getSessionInput(session, name)
        interpreter.resizeTensor(target, array.shape)
        interpreter.resizeSession(session)
        given = MNN.Tensor(array.shape, _HALIDE[array.dtype.kind], array, MNN.Tensor_DimensionType_Caffe)
        target.copyFrom(given)
    ran = []

    def after(_tensors, operator) -> bool:
        kind, _, dtype = operator.getType().partition(" [ ")  # "Convolution [ DT_INT8 ] "
        ran.append([kind, "int8" if dtype.startswith("DT_INT8") else "float", "CPU", operator.getName()])
        return True

    interpreter.runSessionWithCallBackInfo(session, lambda _tensors, _operator: True, after)
    return {"operators": ran}, []


COMMANDS = {
    "probe": probe,
    "open": open_model,
    **masks.commands(lambda arrays: lambda: _run(arrays), _state),
    "operators": operators,
}
