"""Runs a program once and tells the shape of every tensor in it. Command: observe."""

from __future__ import annotations

import zlib  # noqa: F401 - before paddle: its bundled copy makes PNG decoding fail in the same process

import numpy as np
import paddle
from worker_host import Failure

_AT_ONCE = 64  # tensors that are held at the same time


def observe(arguments, _arrays):
    paddle.enable_static()
    executor, scope = paddle.static.Executor(paddle.CPUPlace()), paddle.static.Scope()
    with paddle.static.scope_guard(scope), paddle.no_grad():
        program, feeds, _ = paddle.static.load_inference_model(arguments["prefix"], executor)
        generator = np.random.default_rng(0)
        feed = {
            name: generator.standard_normal(shape).astype(dtype)
            for name, (shape, dtype) in zip(feeds, arguments["inputs"], strict=True)
        }
        block, shapes = program.global_block(), {}
        names = [name for name in arguments["names"] if block.has_var(name)]
        for start in range(0, len(names), _AT_ONCE):
            part = names[start : start + _AT_ONCE]
            try:
                tensors = executor.run(
                    program, feed=feed, fetch_list=[block.var(name) for name in part], return_numpy=False
                )
            except Exception as error:
                cause = " ".join(str(error).split())[-300:]
                raise Failure("the program does not run at this size", cause=cause) from error
            shapes.update((name, list(tensor.shape())) for name, tensor in zip(part, tensors, strict=True))
    return {"shapes": shapes}, []


COMMANDS = {"observe": observe}
