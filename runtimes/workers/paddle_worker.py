"""Runs a Paddle inference program. Commands: probe, open, infer, outputs, bench.

On the CPU it trusts oneDNN only after a look: one of its fusions gives wrong masks for some transformers. The first
inputs run with it and without any graph optimization; when their masks differ, the plain predictor goes on alone.
"""

from __future__ import annotations

import time
import zlib  # noqa: F401 - before paddle: its bundled copy makes PNG decoding fail in the same process

import devices
import mask as masks
import numpy as np
import paddle
import paddle.inference as inference
from worker_host import Failure

CHECKED_INPUTS = 2
LEAST_AGREEMENT = 0.9995
_state: dict = {}


def probe(_arguments, _arrays):
    found = ["cpu"] + (["gpu"] if paddle.is_compiled_with_cuda() and paddle.device.cuda.device_count() else [])
    return {"version": paddle.__version__, "devices": found}, []


def open_model(arguments, _arrays):
    version = paddle.__version__
    kind, index = devices.parsed(arguments["device"], "Paddle Inference")
    if kind == "gpu" and not paddle.is_compiled_with_cuda():
        raise devices.absent(
            arguments["device"],
            f"Paddle Inference {version}",
            "its wheel was built without CUDA",
            "paddlepaddle",
            f"paddlepaddle-gpu=={version}",
        )
    if kind == "gpu" and index >= paddle.device.cuda.device_count():
        count = paddle.device.cuda.device_count()
        raise Failure(
            f"device {arguments['device']!r}: Paddle Inference sees {count} GPUs here",
            cause=devices.nvidia(),
            hint="--device cpu, or another gpu:N",
        )
    start = time.perf_counter()
    wants_onednn = kind == "cpu" and arguments["options"].get("onednn", True)
    predictor = _predictor(arguments, kind, index, onednn=wants_onednn, optimize=kind == "gpu" or wants_onednn)
    load_ms = (time.perf_counter() - start) * 1e3
    plain = _predictor(arguments, kind, 0, onednn=False, optimize=False) if wants_onednn else None
    _state.update(
        predictor=predictor, plain=plain, to_check=CHECKED_INPUTS if wants_onednn else 0, specs=arguments["outputs"]
    )
    device = masks.cpu_name() if kind == "cpu" else paddle.device.cuda.get_device_name(index)
    provider = {"cpu": "oneDNN" if wants_onednn else "plain", "gpu": "CUDA"}[kind]
    return {"version": paddle.__version__, "provider": provider, "device": device, "load_ms": load_ms}, []


def _predictor(arguments, kind: str, index: int, *, onednn: bool, optimize: bool):
    config = inference.Config(arguments["files"]["model"], arguments["files"]["params"])
    config.disable_glog_info()
    config.switch_ir_optim(optimize)
    if kind == "gpu":
        config.enable_use_gpu(256, index)
    else:
        config.disable_gpu()
        config.set_cpu_math_library_num_threads(arguments["threads"])
        if onednn:
            config.enable_mkldnn()
            config.set_mkldnn_cache_capacity(10)
    if optimize and arguments["options"].get("optimized_program"):  # a folder; the audit reads what lies there then
        config.set_optim_cache_dir(arguments["options"]["optimized_program"])
        config.enable_save_optim_model(True)
    return inference.create_predictor(config)


def _run(predictor, arrays) -> list[np.ndarray]:
    for name, array in zip(predictor.get_input_names(), arrays, strict=True):
        predictor.get_input_handle(name).copy_from_cpu(array)
    predictor.run()
    return [predictor.get_output_handle(name).copy_to_cpu() for name in predictor.get_output_names()]


def _settle(arrays) -> dict:
    """Compares oneDNN with the plain predictor on one input; on a difference the plain one takes over."""
    if not _state["to_check"]:
        return {}
    _state["to_check"] -= 1
    fast, sure = (_run(_state[which], arrays) for which in ("predictor", "plain"))
    agreement = masks.agreement(fast, sure, _state["specs"], len(arrays[0]))
    changed = {}
    if agreement < LEAST_AGREEMENT:
        _state["predictor"], _state["to_check"] = _state["plain"], 0
        what, parts = masks.answers(_state["specs"])
        found = f"oneDNN gave another {what} than plain Paddle on {1 - agreement:.2%} of the {parts}"
        changed = {"changed": {"provider": "plain", "note": f"{found}, so it was switched off"}}
    if not _state["to_check"]:
        _state["plain"] = None
    return changed


def infer(arguments, arrays):
    changed = _settle(arrays)
    answer, results = masks.measured(
        lambda: _run(_state["predictor"], arrays), _state["specs"], arguments["margin"], len(arrays[0])
    )
    return answer | changed, results


def outputs(_arguments, arrays):
    return _settle(arrays), _run(_state["predictor"], arrays)


def bench(arguments, arrays):
    changed = _settle(arrays)
    answer, results = masks.bench(lambda: _run(_state["predictor"], arrays), arguments["runs"])
    return answer | changed, results


COMMANDS = {"probe": probe, "open": open_model, "infer": infer, "outputs": outputs, "bench": bench}
