"""The real tools, each in a separate process, on a program in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from segexport.exporter.program import Program
from segexport.process.worker import Worker

REPOSITORY = Path(__file__).resolve().parent.parent.parent
_FILES = {
    "paddle": REPOSITORY / "runtimes/workers/paddle_worker.py",
    "paddle2onnx": REPOSITORY / "exporter/workers/paddle2onnx_worker.py",
    "paddlelite opt": REPOSITORY / "exporter/workers/lite_opt_worker.py",
    "onnxruntime": REPOSITORY / "runtimes/workers/onnxruntime_worker.py",
    "paddlelite": REPOSITORY / "runtimes/workers/lite_worker.py",
}


class Toolchain:
    """Keeps one worker per tool and starts a new one after a tool has died."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._workers, self._count = folder, {}, 0

    def paddle(self, program: Program, feed: list[np.ndarray]) -> list[np.ndarray]:
        """Paddle Inference without oneDNN and without fused passes."""
        model, params = program.write(self._new_folder())
        return self._run("paddle", {"model": str(model), "params": str(params)}, program, feed)

    def onnx(self, program: Program, feed: list[np.ndarray], opset: int = 16) -> list[np.ndarray]:
        """paddle2onnx, then ONNX Runtime."""
        return self._run("onnxruntime", {"model": str(self._converted(program, opset))}, program, feed)

    def onnx_model(self, program: Program, opset: int = 16) -> Path:
        """paddle2onnx alone; ONNX Runtime has opened what it wrote."""
        out = self._converted(program, opset)
        self._open("onnxruntime", {"model": str(out)}, program)
        return out

    def _converted(self, program: Program, opset: int) -> Path:
        model, params = program.write(self._new_folder())
        out = model.with_suffix(".onnx")
        arguments = {"model": str(model), "params": str(params), "onnx": str(out), "opset": opset}
        self._call("paddle2onnx", "convert", arguments)
        return out

    def lite(self, program: Program, feed: list[np.ndarray], *, int8_weights: bool = False) -> list[np.ndarray]:
        """Paddle-Lite's Opt for x86, then its runtime."""
        compiled = self.opt(program, "x86", int8_weights=int8_weights)
        return self._run("paddlelite", {"model": str(compiled)}, program, feed)

    def lite_again(self, feed: list[np.ndarray]) -> list[np.ndarray]:
        """The program that `lite` has run last, on another image, in the same process."""
        return self._call("paddlelite", "outputs", {}, feed)

    def opt(self, program: Program, places: str, *, int8_weights: bool = False) -> Path:
        """Paddle-Lite's Opt alone."""
        model, params = program.write(self._new_folder())
        files = {"model": str(model), "params": str(params), "stem": str(model.with_suffix(""))}
        self._call("paddlelite opt", "compile", {**files, "places": places, "fp16": False, "weight_int8": int8_weights})
        return model.with_suffix(".nb")

    def _run(self, tool: str, files: dict, program: Program, feed: list[np.ndarray]) -> list[np.ndarray]:
        self._open(tool, files, program)
        return self._call(tool, "outputs", {}, feed)

    def _open(self, tool: str, files: dict, program: Program) -> None:
        outputs = [{"name": name} for name in program.fetch_names]
        arguments = {"files": files, "device": "cpu", "threads": 1, "outputs": outputs, "options": {}}
        self._call(tool, "open", arguments)

    def _call(self, tool: str, command: str, arguments: dict, arrays: list[np.ndarray] = ()) -> list[np.ndarray]:
        if tool not in self._workers:
            self._workers[tool] = Worker(_FILES[tool], needs=tool.split()[0], name=tool)
        try:
            return self._workers[tool].call(command, arguments, arrays, timeout_s=600)[1]
        except Exception:
            self._workers.pop(tool).close()
            raise

    def _new_folder(self) -> Path:
        self._count += 1
        folder = self._folder / str(self._count)
        folder.mkdir(parents=True)
        return folder

    def close(self) -> None:
        for worker in self._workers.values():
            worker.close()
