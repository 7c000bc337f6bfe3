"""Converts an ONNX model to ncnn with pnnx's program. Command: convert.

pnnx's Python package imports torch to trace modules; its program converts files without it.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import tempfile

from worker_host import WorkerFailure

_LEFT_OUT = re.compile(r"^ignore (\S+ \S+) param (\S+)=", re.MULTILINE)


def convert(arguments, _arrays):
    """Writes `param` and `bin`; `options` are passed to pnnx."""
    (package,) = importlib.util.find_spec("pnnx").submodule_search_locations
    with tempfile.TemporaryDirectory() as folder:  # it writes ten files beside the model
        shutil.copyfile(arguments["model"], os.path.join(folder, "model.onnx"))
        command = [os.path.join(package, "pnnx"), "model.onnx", *arguments["options"]]
        done = _run(command, folder)
        if done.returncode:  # a busy machine can be the cause: once, pnnx could not write a file
            done = _run(command, folder)
        log = done.stdout + done.stderr
        if done.returncode < 0:
            raise WorkerFailure(f"pnnx was killed by signal {-done.returncode}", cause=_last(log))
        made = {"param": os.path.join(folder, "model.ncnn.param"), "bin": os.path.join(folder, "model.ncnn.bin")}
        if done.returncode or not all(os.path.isfile(path) for path in made.values()):
            raise WorkerFailure(f"pnnx wrote no model (exit code {done.returncode})", cause=_last(log))
        for role, path in made.items():
            shutil.move(path, arguments[role])
    left_out = [f"{layer} ({name})" for layer, name in _LEFT_OUT.findall(log)]
    return {"version": importlib.metadata.version("pnnx"), "left_out": left_out}, []


def _run(command: list[str], folder: str) -> subprocess.CompletedProcess:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace")


def _last(log: str) -> str:
    return " | ".join([line.strip() for line in log.splitlines() if line.strip()][-3:])[:400]


COMMANDS = {"convert": convert}
