"""Quantizes an OpenVINO model with NNCF. Commands: begin, observe, quantize."""

from __future__ import annotations

import logging
import os

import nncf
import numpy as np
import openvino as ov
from openvino_worker import save
from worker_host import WorkerFailure

_state: dict = {}


def begin(arguments, _arrays):
    nncf.set_log_level(logging.ERROR)
    _state.update(model=ov.Core().read_model(arguments["model"]), scratch=arguments["scratch"], files=[])
    return {}, []


def observe(_arguments, arrays):
    """Keeps one image's tensors: NNCF reads them several times."""
    path = os.path.join(_state["scratch"], f"{len(_state['files'])}.npz")
    np.savez(path, **{f"a{index}": array for index, array in enumerate(arrays)})
    _state["files"].append(path)
    return {}, []


def quantize(arguments, _arrays):
    """Calibrates on all images, corrects biases, and writes the model; returns how many operators were quantized."""
    files, names = _state["files"], [port.any_name for port in _state["model"].inputs]

    def tensors(path: str) -> dict:
        with np.load(path) as stored:
            return {name: stored[f"a{index}"] for index, name in enumerate(names)}

    try:
        model = nncf.quantize(
            _state["model"],
            nncf.Dataset(files, tensors),
            subset_size=len(files),
            preset=nncf.QuantizationPreset.MIXED,
            fast_bias_correction=arguments["fast_bias_correction"],
        )
    except Exception as error:
        cause = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        raise WorkerFailure("NNCF cannot quantize the model", cause=cause) from error
    save(model, arguments["out"], half=False)
    rounded = sum(node.get_type_name() == "FakeQuantize" for node in model.get_ops())
    return {"rounded": rounded, "nncf": nncf.__version__, "openvino": ov.__version__.split("-")[0]}, []


COMMANDS = {"begin": begin, "observe": observe, "quantize": quantize}
