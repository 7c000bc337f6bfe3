"""segexport's own toolchains. docs/toolchain.md has the reason for each version."""

from __future__ import annotations

from pathlib import Path

from segexport.toolchain.catalog import Toolchain

_HERE = Path(__file__).parent

PADDLE = Toolchain(
    name="paddle",
    purpose="runs and trains Paddle programs",
    modules={"paddle": "2.6."},
    pythons=("3.10", "3.11", "3.12"),
    lock=_HERE / "locks" / "paddle.txt",
    probe=_HERE / "workers" / "paddle_probe.py",
)
ONNX = Toolchain(
    name="onnx",
    purpose="makes, quantizes and runs ONNX models",
    modules={"paddle2onnx": "1.3.", "onnx": "", "onnxslim": "", "onnxruntime": ""},
    pythons=("3.12", "3.11", "3.10"),
    lock=_HERE / "locks" / "onnx.txt",
    probe=_HERE / "workers" / "onnx_probe.py",
)
PADDLE_LITE = Toolchain(
    name="paddle-lite",
    purpose="makes and runs Paddle-Lite models",
    modules={"paddlelite": "2.13"},
    pythons=("3.10",),
    lock=_HERE / "locks" / "paddle-lite.txt",
    probe=_HERE / "workers" / "paddle_lite_probe.py",
)
