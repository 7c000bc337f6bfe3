"""Runs a Paddle-Lite .nb on this host. Commands: probe, open, infer, outputs, bench.

The parent sets the thread count through OMP_NUM_THREADS: the Python binding has no call for it.
"""

from __future__ import annotations

import importlib.metadata
import time

import mask as masks
import numpy as np
from paddlelite import lite
from worker_host import WorkerFailure

_state: dict = {}


def probe(_arguments, _arrays):
    return {"version": importlib.metadata.version("paddlelite"), "devices": ["cpu"]}, []


def open_model(arguments, _arrays):
    if arguments["device"] != "cpu":
        raise WorkerFailure(
            f"device {arguments['device']!r}: Paddle-Lite runs on the CPU here",
            cause="its x86 twin of a .nb has no other kernels",
            hint="--device cpu, or --device adb for a phone",
        )
    if int(np.__version__.split(".")[0]) >= 2:  # Tensor.from_numpy then silently feeds garbage
        raise WorkerFailure(
            f"numpy {np.__version__} makes paddlelite read wrong inputs",
            hint="pip install 'numpy<2' in its environment",
        )
    start = time.perf_counter()
    _state.update(model=arguments["files"]["model"], specs=arguments["outputs"])
    _load()
    load_ms = (time.perf_counter() - start) * 1e3
    version = importlib.metadata.version("paddlelite")
    return {"version": version, "provider": "x86", "device": masks.cpu_name(), "load_ms": load_ms}, []


def _load() -> None:
    config = lite.MobileConfig()
    config.set_model_from_file(_state["model"])
    _state.update(predictor=lite.create_paddle_predictor(config), sizes=None)


def _run(arrays) -> list[np.ndarray]:
    sizes = [array.shape for array in arrays]
    if _state["sizes"] not in (None, sizes):  # x86 kernels keep the buffers and offsets of the first size
        _load()
    _state["sizes"] = sizes
    predictor = _state["predictor"]
    for index, array in enumerate(arrays):
        predictor.get_input(index).from_numpy(array)
    predictor.run()
    return [predictor.get_output(index).numpy() for index in range(len(_state["specs"]))]


COMMANDS = {"probe": probe, "open": open_model, **masks.commands(lambda arrays: lambda: _run(arrays), _state)}
