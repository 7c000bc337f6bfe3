"""Computes one gradient of a program, to test that training works on this machine. Command: gradient.

Unlike most workers, this one imports segexport, for the trainable program.
"""

from __future__ import annotations

import zlib  # noqa: F401 - before paddle: its bundled copy makes PNG decoding fail in the same process
from pathlib import Path

import paddle
from worker_host import WorkerFailure

from segexport.compress.live_program import LiveProgram


def gradient(arguments, _arrays):
    live = LiveProgram.load(Path(arguments["model"]), Path(arguments["params"]))
    live.train()
    live(paddle.rand([1, 3, 128, 128])).mean().backward()
    if not any(weight.grad is not None and float(weight.grad.abs().sum()) > 0 for weight in live.parameters()):
        raise WorkerFailure("the demo's program has no gradient")
    return {}, []


COMMANDS = {"gradient": gradient}
