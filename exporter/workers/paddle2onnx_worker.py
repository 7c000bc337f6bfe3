"""Converts a Paddle program to ONNX with paddle2onnx. Command: convert. Aborts on unknown operators."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from importlib.machinery import PathFinder

from worker_host import WorkerFailure

_BACKEND, _CUSTOM_OPERATORS, _NO_FILE = "onnxruntime", {}, ""


def _converter():
    """Loads the converter's extension alone: its package imports Paddle for tracing, which takes 4 s."""
    package = importlib.util.find_spec("paddle2onnx")
    if package is None:
        raise ModuleNotFoundError("No module named 'paddle2onnx'", name="paddle2onnx")
    found = PathFinder.find_spec("paddle2onnx_cpp2py_export", package.submodule_search_locations)
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


_CONVERTER = _converter()


def convert(arguments, _arrays):
    """Writes `onnx`.

    Args:
        model, params: Paths of the program's files.
        optimize: Whether paddle2onnx's optimizer runs, whose time grows with the square of the number of operators.
    """
    upgrade_opset = verbose = half_precision = False
    check = experimental = True
    model = _CONVERTER.export(
        arguments["model"],
        arguments["params"],
        arguments["opset"],
        upgrade_opset,
        verbose,
        check,
        experimental,
        arguments.get("optimize", True),
        _CUSTOM_OPERATORS,
        _BACKEND,
        _NO_FILE,  # a calibration table
        _NO_FILE,  # weights outside of the model
        half_precision,
    )
    if not model:
        raise WorkerFailure(f"paddle2onnx wrote no model at opset {arguments['opset']}")
    with open(arguments["onnx"], "wb") as stream:
        stream.write(model)
    return {"version": importlib.metadata.version("paddle2onnx")}, []


COMMANDS = {"convert": convert}
