"""Compiles a Paddle program to a .nb with Paddle-Lite's Opt. Command: compile. Aborts on unknown operators."""

from __future__ import annotations

import importlib.metadata
import os

from paddlelite.lite import Opt
from worker_host import WorkerFailure


def compile_nb(arguments, _arrays):
    opt = Opt()
    opt.set_model_file(arguments["model"])
    opt.set_param_file(arguments["params"])
    if arguments["fp16"]:
        opt.enable_fp16()  # after set_valid_places it silently has no effect
    opt.set_valid_places(arguments["places"])
    opt.set_model_type("naive_buffer")
    if arguments["weight_int8"]:
        opt.set_quant_model(True)
        opt.set_quant_type(f"QUANT_INT{arguments.get('weight_bits', 8)}")
    opt.set_optimize_out(arguments["stem"])
    opt.run()
    file = arguments["stem"] + ".nb"
    if not os.path.isfile(file) or not os.path.getsize(file):
        raise WorkerFailure(f"Paddle-Lite's Opt wrote no model for {arguments['places']}")
    _settle_header(file)
    return {"version": importlib.metadata.version("paddlelite")}, []


def _settle_header(file: str) -> None:
    """Zeroes the header's bytes after Opt's version: Opt fills these 16 bytes from uninitialized memory."""
    with open(file, "r+b") as stream:
        stream.seek(2)
        text = stream.read(16).split(b"\0")[0]
        stream.seek(2)
        stream.write(text.ljust(16, b"\0"))


COMMANDS = {"compile": compile_nb}
