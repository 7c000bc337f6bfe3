"""Runs a program operator by operator and writes its tensors to files. Command: trace."""

from __future__ import annotations

import os
import zlib  # noqa: F401 - before paddle: its bundled copy makes PNG decoding fail in the same process

import numpy as np
import paddle
from worker_host import WorkerFailure


def trace(arguments, arrays):
    """Writes `<number>.npy` for each variable; one group of variables is in memory at a time."""
    paddle.enable_static()
    executor, scope = paddle.static.Executor(paddle.CPUPlace()), paddle.static.Scope()
    found = {}
    with paddle.static.scope_guard(scope), paddle.no_grad():
        program, feeds, _ = paddle.static.load_inference_model(arguments["prefix"], executor)
        feed = dict(zip(feeds, arrays, strict=True))
        block = program.global_block()
        for names in arguments["groups"]:
            part = [name for name in names if block.has_var(name)]
            try:
                values = executor.run(
                    program, feed=feed, fetch_list=[block.var(name) for name in part], return_numpy=False
                )
            except Exception as error:
                cause = " ".join(str(error).split())[-300:]
                raise WorkerFailure("the reference does not run on this image", cause=cause) from error
            for name, value in zip(part, values, strict=True):
                array = np.array(value)
                file = os.path.join(arguments["folder"], f"{len(found)}.npy")
                np.save(file, array)
                found[name] = {"file": file, "shape": list(array.shape), "dtype": str(array.dtype)}
    return {"tensors": found}, []


COMMANDS = {"trace": trace}
