"""Runs a Paddle inference program. Commands: probe, open, infer, outputs, bench.

Runs operator by operator unless the option `graph` is `optimized`, which enables Paddle's graph passes, on the CPU with
oneDNN. The optimized program is faster and wrong for some networks: oneDNN caches a filter that the network computes
from its input, some fusions change masks, and some passes abort. So masks always come from the plain program.
"""

from __future__ import annotations

import time
import zlib  # noqa: F401 - before paddle: its bundled copy makes PNG decoding fail in the same process

import devices
import mask as masks
import numpy as np
import paddle
import paddle.inference as inference
from worker_host import WorkerFailure

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
        raise WorkerFailure(
            f"device {arguments['device']!r}: Paddle Inference sees {count} GPUs here",
            cause=devices.nvidia(),
            hint="--device cpu, or another gpu:N",
        )
    start = time.perf_counter()
    optimized = arguments["options"].get("graph") == "optimized"
    predictor = _predictor(arguments, kind, index, optimized)
    load_ms = (time.perf_counter() - start) * 1e3
    _state.update(predictor=predictor, specs=arguments["outputs"])
    device = masks.cpu_name() if kind == "cpu" else paddle.device.cuda.get_device_name(index)
    provider = {"cpu": ("plain", "oneDNN"), "gpu": ("CUDA, plain", "CUDA")}[kind][optimized]
    return {"version": paddle.__version__, "provider": provider, "device": device, "load_ms": load_ms}, []


def _predictor(arguments, kind: str, index: int, optimized: bool):
    config = inference.Config(arguments["files"]["model"], arguments["files"]["params"])
    config.disable_glog_info()
    config.switch_ir_optim(optimized)
    if kind == "gpu":
        config.enable_use_gpu(256, index)
    else:
        config.disable_gpu()
        config.set_cpu_math_library_num_threads(arguments["threads"])
        if optimized:
            config.enable_mkldnn()
            config.set_mkldnn_cache_capacity(10)
        else:  # graph optimization is on by default
            config.disable_mkldnn()
    if optimized and arguments["options"].get("optimized_program"):  # a folder that the audit reads
        config.set_optim_cache_dir(arguments["options"]["optimized_program"])
        config.enable_save_optim_model(True)
    return inference.create_predictor(config)


def _run(arrays) -> list[np.ndarray]:
    predictor = _state["predictor"]
    for name, array in zip(predictor.get_input_names(), arrays, strict=True):
        predictor.get_input_handle(name).copy_from_cpu(array)
    predictor.run()
    return [predictor.get_output_handle(name).copy_to_cpu() for name in predictor.get_output_names()]


COMMANDS = {"probe": probe, "open": open_model, **masks.commands(lambda arrays: lambda: _run(arrays), _state)}
