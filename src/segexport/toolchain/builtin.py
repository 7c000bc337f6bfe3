"""segexport's toolchains, each with a small job that tests it."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from segexport.errors import WorkerFailed
from segexport.toolchain.catalog import Toolchain

_PACKAGE = Path(__file__).parent.parent
_DEMO = _PACKAGE / "demo" / "model"
_LOCKS = Path(__file__).parent / "locks"
_LONGEST_S = 300.0


class _Trial:
    """Calls workers in one Python, on the demo's program, in a temporary folder."""

    def __init__(self, python: Path) -> None:
        self._python = python

    def __enter__(self) -> _Trial:
        self._scratch = tempfile.TemporaryDirectory(prefix="segexport-trial-")
        self.folder = Path(self._scratch.name)
        return self

    def __exit__(self, *_: object) -> None:
        self._scratch.cleanup()

    def program(self, target: str) -> dict[str, str]:
        """The files of the demo's program, rewritten for `target`."""
        from segexport.exporter import program, rewrites

        original = program.read(_DEMO / "model.pdmodel", _DEMO / "model.pdiparams")
        self._inputs = original.feed_names
        self._outputs = [{"name": name, "dtype": "float32"} for name in original.fetch_names]
        model, params = rewrites.rewrite_for(target, original)[0].write(self.folder)
        return {"model": str(model), "params": str(params)}

    def small_onnx(self) -> str:
        """An ONNX file with one operator, for a toolchain that cannot write one."""
        size = _field(2, b"".join(_field(1, _field(1, length)) for length in (1, 3, 128, 128)))
        ends = [_field(1, name) + _field(2, _field(1, _field(1, 1) + size)) for name in (b"x", b"y")]
        node = _field(1, b"x") + _field(2, b"y") + _field(4, b"Relu")
        graph = _field(1, node) + _field(2, b"trial") + _field(11, ends[0]) + _field(12, ends[1])
        (self.folder / "small.onnx").write_bytes(_field(1, 8) + _field(7, graph) + _field(8, _field(2, 13)))
        self._inputs, self._outputs = ["x"], [{"name": "y", "dtype": "float32", "shape": [1, 3, 128, 128]}]
        return str(self.folder / "small.onnx")

    def call(self, script: str, *calls: tuple[str, Mapping[str, Any]], own_code: bool = False) -> None:
        from segexport.process.worker import Worker

        with Worker(_PACKAGE / script, python=self._python, own_code=own_code) as worker:
            for command, arguments in calls:
                worker.call(command, arguments, timeout_s=_LONGEST_S)

    def run(self, script: str, **files: str) -> None:
        """Runs a model on a gradient image.

        Raises:
            WorkerFailed: The output is not one score per pixel, or is constant.
        """
        import numpy as np

        from segexport.process.worker import Worker

        ramp = np.linspace(-1, 1, 3 * 128 * 128, dtype=np.float32).reshape(1, 3, 128, 128)
        opening = {"files": files, "device": "cpu", "threads": 1, "inputs": self._inputs, "outputs": self._outputs}
        with Worker(_PACKAGE / script, python=self._python) as worker:
            worker.call("open", {**opening, "options": {"onednn": False}}, timeout_s=_LONGEST_S)
            (scores,) = worker.call("outputs", {}, [ramp], timeout_s=_LONGEST_S)[1]
        if scores.shape[2:] != ramp.shape[2:] or not np.isfinite(scores).all() or np.ptp(scores) == 0:
            raise WorkerFailed(
                f"{script}: the demo's model gives wrong scores", cause=f"{scores.dtype} {list(scores.shape)}"
            )


def _field(number: int, value: int | bytes) -> bytes:
    """A field of a protobuf message."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    low, rest = value & 127, value >> 7
    return bytes([low | 128]) + _varint(rest) if rest else bytes([low])


def _prove_paddle(python: Path) -> None:
    with _Trial(python) as trial:
        files = trial.program("onnx")
        trial.run("runtimes/workers/paddle_worker.py", **files)
        trial.call("compress/workers/gradient_worker.py", ("gradient", files), own_code=True)


def _prove_onnx(python: Path) -> None:
    with _Trial(python) as trial:
        raw, model = str(trial.folder / "raw.onnx"), str(trial.folder / "model.onnx")
        conversion = {**trial.program("onnx"), "onnx": raw, "opset": 16}
        trial.call("exporter/workers/paddle2onnx_worker.py", ("convert", conversion))
        finishing = {"raw": raw, "out": model, "simplify": True, "seed": 0, "metadata": {}}
        trial.call("exporter/workers/onnx_worker.py", ("finish", finishing))
        trial.run("runtimes/workers/onnxruntime_worker.py", model=model)


def _prove_paddle_lite(python: Path) -> None:
    with _Trial(python) as trial:
        stem = str(trial.folder / "compiled")
        compiling = {**trial.program("paddle-lite x86"), "stem": stem, "fp16": False, "weight_int8": False}
        trial.call("exporter/workers/lite_opt_worker.py", ("compile", {**compiling, "places": "x86"}))
        trial.run("runtimes/workers/lite_worker.py", model=f"{stem}.nb")


def _prove_paddleseg(python: Path) -> None:
    with _Trial(python) as trial:
        building = {"model": {"type": "PPHumanSegLite", "num_classes": 2}, "dataset": "", "checkout": None, "seed": 0}
        writing = {"folder": str(trial.folder), "names": [], "sides": [64, 64], "heads": 0}
        trial.call("exporter/workers/paddleseg_worker.py", ("build", building), ("write", writing))


def _prove_paddledet(python: Path) -> None:
    with _Trial(python) as trial:
        building = {"architecture": "ResNet", "sections": {"num_classes": 2, "ResNet": {"depth": 18}}}
        trial.call("exporter/workers/paddledet_worker.py", ("build", {**building, "checkout": None, "seed": 0}))


def _prove_litert(python: Path) -> None:
    with _Trial(python) as trial:
        model = str(trial.folder / "model.tflite")
        conversion = {"onnx": trial.small_onnx(), "out": model, "precision": "fp32", "channels_last": []}
        trial.call("exporter/workers/litert_convert_worker.py", ("convert", conversion))
        trial.run("runtimes/workers/litert_worker.py", model=model)


def _prove_ncnn(python: Path) -> None:
    with _Trial(python) as trial:
        files = {"param": str(trial.folder / "model.param"), "bin": str(trial.folder / "model.bin")}
        conversion = {"model": trial.small_onnx(), "options": ["inputshape=[1,3,128,128]", "fp16=0"], **files}
        trial.call("exporter/workers/pnnx_worker.py", ("convert", conversion))
        trial.run("runtimes/workers/ncnn_worker.py", model=files["param"], params=files["bin"])


def _prove_mnn(python: Path) -> None:
    with _Trial(python) as trial:
        model = str(trial.folder / "model.mnn")
        conversion = {"model": trial.small_onnx(), "source_format": "ONNX", "out": model, "options": []}
        trial.call("exporter/workers/mnn_convert_worker.py", ("convert", conversion))
        trial.run("runtimes/workers/mnn_worker.py", model=model)


def _prove_openvino(python: Path) -> None:
    with _Trial(python) as trial:
        model = str(trial.folder / "model.xml")
        # It also reads Paddle programs, and this one does not need ONNX's toolchain.
        conversion = {"model": trial.program("onnx")["model"], "out": model, "half": False, "names": []}
        trial.call("exporter/workers/openvino_worker.py", ("convert", conversion))
        trial.run("runtimes/workers/openvino_worker.py", model=model)


def _prove_nncf(python: Path) -> None:
    import numpy as np

    from segexport.process.worker import Worker

    with _Trial(python) as trial:
        floats, model = (str(trial.folder / name) for name in ("floats.xml", "model.xml"))
        conversion = {"model": trial.program("onnx")["model"], "out": floats, "half": False, "names": []}
        trial.call("exporter/workers/openvino_worker.py", ("convert", conversion))
        image = np.random.default_rng(0).normal(size=(1, 3, 128, 128)).astype(np.float32)
        quantizer = _PACKAGE / "exporter/workers/nncf_worker.py"
        with Worker(quantizer, python=python) as worker:
            worker.call("begin", {"model": floats, "scratch": str(trial.folder)}, timeout_s=_LONGEST_S)
            worker.call("observe", {}, [image], timeout_s=_LONGEST_S)
            worker.call("quantize", {"out": model, "fast_bias_correction": True}, timeout_s=_LONGEST_S)
        trial.run("runtimes/workers/openvino_worker.py", model=model)


PADDLE = Toolchain(
    name="paddle",
    purpose="runs and trains Paddle programs",
    modules={"paddle": "2.6."},
    pythons=("3.10", "3.11", "3.12"),
    lock=_LOCKS / "paddle.txt",
    prove=_prove_paddle,
)
ONNX = Toolchain(
    name="onnx",
    purpose="makes, quantizes and runs ONNX models",
    modules={"paddle2onnx": "1.3.", "onnx": "", "onnxslim": "", "onnxruntime": ""},
    pythons=("3.12", "3.11", "3.10"),
    lock=_LOCKS / "onnx.txt",
    prove=_prove_onnx,
)
PADDLE_LITE = Toolchain(
    name="paddle-lite",
    purpose="makes and runs Paddle-Lite models",
    modules={"paddlelite": "2.13"},
    pythons=("3.10",),
    lock=_LOCKS / "paddle-lite.txt",
    prove=_prove_paddle_lite,
)
PADDLESEG = Toolchain(
    name="paddleseg",
    purpose="builds PaddleSeg's networks from their configurations",
    modules={"paddleseg": "2.8."},
    pythons=("3.10", "3.11", "3.12"),
    lock=_LOCKS / "paddleseg.txt",
    prove=_prove_paddleseg,
)
PADDLEDET = Toolchain(
    name="paddledet",
    purpose="builds and trains PaddleDetection's networks",
    modules={"ppdet": "2.6."},
    pythons=("3.10", "3.11", "3.12"),
    lock=_LOCKS / "paddledet.txt",
    prove=_prove_paddledet,
    optional=True,
)
LITERT = Toolchain(
    name="litert",
    purpose="makes and runs LiteRT models",
    modules={"ai_edge_litert": "2.3.", "onnx": ""},
    pythons=("3.12", "3.11", "3.10", "3.13"),
    lock=_LOCKS / "litert.txt",
    prove=_prove_litert,
)
NCNN = Toolchain(
    name="ncnn",
    purpose="makes and runs ncnn models",
    modules={"ncnn": "1.0.2026", "pnnx": "2026"},
    pythons=("3.12", "3.11", "3.10", "3.13"),
    lock=_LOCKS / "ncnn.txt",
    prove=_prove_ncnn,
)
MNN = Toolchain(
    name="mnn",
    purpose="makes and runs MNN models",
    modules={"MNN": "3.6.", "_tools": ""},
    pythons=("3.12", "3.11", "3.10", "3.13"),
    lock=_LOCKS / "mnn.txt",
    prove=_prove_mnn,
)
OPENVINO = Toolchain(
    name="openvino",
    purpose="makes and runs OpenVINO models",
    modules={"openvino": "2026.4"},
    pythons=("3.12", "3.11", "3.10"),
    lock=_LOCKS / "openvino.txt",
    prove=_prove_openvino,
)
NNCF = Toolchain(
    name="nncf",
    purpose="quantizes OpenVINO models in another way",
    modules={"nncf": "3.4", "openvino": "2026.4"},
    pythons=("3.12", "3.11", "3.10"),
    lock=_LOCKS / "nncf.txt",
    prove=_prove_nncf,
    optional=True,
)
