"""Runs a .nb on tensors from files and compares its outputs. Command: compare."""

from __future__ import annotations

import numpy as np
from difference import difference
from paddlelite import lite


def _run(model: str, feed: list[np.ndarray], outputs: int) -> list[np.ndarray]:
    config = lite.MobileConfig()
    config.set_model_from_file(model)
    predictor = lite.create_paddle_predictor(config)
    for index, array in enumerate(feed):
        predictor.get_input(index).from_numpy(np.ascontiguousarray(array))
    predictor.run()
    # numpy() is a view of the predictor's memory, which is freed with it.
    return [np.array(predictor.get_output(index).numpy()) for index in range(outputs)]


def compare(arguments, arrays):
    """`feeds` and `expected` are files of tensors, in the program's order; without feeds, the arrays are the inputs."""
    feed = [np.load(file) for file in arguments["feeds"]] or list(arrays)
    files = arguments["expected"]
    values = _run(arguments["model"], feed, len(files))
    pairs = zip(files, values, strict=True)
    return {"differences": [difference(np.load(file, mmap_mode="r"), value) for file, value in pairs]}, []


COMMANDS = {"compare": compare}
