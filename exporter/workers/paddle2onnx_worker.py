"""Converts a Paddle program to ONNX with paddle2onnx. Command: convert. Aborts on operators that it does not know."""

from __future__ import annotations

import importlib.metadata
import os

import paddle2onnx
from worker_host import Failure


def convert(arguments, _arrays):
    paddle2onnx.export(
        arguments["model"],
        arguments["params"],
        arguments["onnx"],
        opset_version=arguments["opset"],
        auto_upgrade_opset=False,
        verbose=False,
        enable_onnx_checker=True,
        enable_optimize=True,
    )
    if not os.path.isfile(arguments["onnx"]) or not os.path.getsize(arguments["onnx"]):
        raise Failure(f"paddle2onnx wrote no model at opset {arguments['opset']}")
    return {"version": importlib.metadata.version("paddle2onnx")}, []


COMMANDS = {"convert": convert}
