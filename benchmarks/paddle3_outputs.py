"""Runs `.json` programs in Paddle 3; needs an interpreter with only Paddle 3 and numpy.

    PADDLE3/bin/python benchmarks/paddle3_outputs.py FOLDER ...

Each FOLDER holds `model.json`, `model.pdiparams`, and `inputs.npz`; the outputs are written to `paddle3.npz`. Both go
by the names that the program has for them: Paddle 3 lists them in an order of its own.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from paddle import inference


def outputs(folder: Path) -> dict[str, np.ndarray]:
    """Runs the program operator by operator: no oneDNN and no fused passes, which round otherwise."""
    config = inference.Config(str(folder / "model.json"), str(folder / "model.pdiparams"))
    config.disable_gpu()
    config.disable_mkldnn()
    config.switch_ir_optim(False)
    config.set_cpu_math_library_num_threads(1)
    config.disable_glog_info()
    predictor = inference.create_predictor(config)
    with np.load(folder / "inputs.npz") as feed:
        for name in predictor.get_input_names():
            predictor.get_input_handle(name).copy_from_cpu(feed[name])
    predictor.run()
    return {name: predictor.get_output_handle(name).copy_to_cpu() for name in predictor.get_output_names()}


if __name__ == "__main__":
    for folder in map(Path, sys.argv[1:]):
        np.savez(folder / "paddle3.npz", **outputs(folder))
