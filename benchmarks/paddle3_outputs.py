"""What Paddle 3 itself computes with a `.json` program; run by an interpreter that has Paddle 3 and numpy, no more.

    PADDLE3/bin/python benchmarks/paddle3_outputs.py FOLDER ...

Each FOLDER holds `model.json`, `model.pdiparams`, and `reference.npz` with `feeds` inputs `feed0`, ...; the outputs are
written to `paddle3.npz` as `output0`, ...
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from paddle import inference


def outputs(folder: Path, feed: list[np.ndarray]) -> list[np.ndarray]:
    """Runs the program operator by operator: no oneDNN and no fused passes, which round otherwise."""
    config = inference.Config(str(folder / "model.json"), str(folder / "model.pdiparams"))
    config.disable_gpu()
    config.disable_mkldnn()
    config.switch_ir_optim(False)
    config.set_cpu_math_library_num_threads(1)
    config.disable_glog_info()
    predictor = inference.create_predictor(config)
    for name, value in zip(predictor.get_input_names(), feed, strict=True):
        predictor.get_input_handle(name).copy_from_cpu(value)
    predictor.run()
    return [predictor.get_output_handle(name).copy_to_cpu() for name in predictor.get_output_names()]


if __name__ == "__main__":
    for folder in map(Path, sys.argv[1:]):
        with np.load(folder / "reference.npz") as arrays:
            feed = [arrays[f"feed{index}"] for index in range(arrays["feeds"])]
        np.savez(folder / "paddle3.npz", **{f"output{i}": value for i, value in enumerate(outputs(folder, feed))})
