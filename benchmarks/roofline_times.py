"""How well exporter/workers/roofline.py places a mix of int8 and float between int8 and fp32, without measuring.

    python benchmarks/roofline_times.py CAMVID EXPORT... [-o results.json]

EXPORT is a network in ONNX, fp32; its name is that of the row. Each is quantized in mixes: its first or last products,
its depthwise convolutions, or every third product in float. The share of the time saved by int8 that a mix leaves is
measured as processor time of one thread in turns, and estimated. A network that the results have is not measured again.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from stamped import REPOSITORY, load, save

from segexport.artifact import read_artifact
from segexport.data.dataset import Dataset
from segexport.exporter.onnx_quantize import QuantizeOnnx, fed

os.environ["OMP_NUM_THREADS"] = "1"  # which workers read
sys.path += [str(REPOSITORY / "exporter" / "workers"), str(REPOSITORY / "src" / "segexport" / "process")]
import onnx_quantize_worker as worker
from float_model import PRODUCTS, session_of
from int8_operators import choose_nodes
from mixed_precision import shapes
from output_comparison import run, stored
from roofline import Roofline

_IMAGES = 4
_FLOAT = ("Resize",)  # as by default


def quantized(export: Path, camvid: Path, scratch: str) -> None:
    """Leaves the network in the worker's state."""
    source = read_artifact(export)
    images = Dataset.open(camvid, "train").subset(_IMAGES, 0).read_for(source.manifest.preprocess)
    options = QuantizeOnnx.Params(rounding="nearest", bias_correction=False, fallback=False).model_dump(mode="json")
    given = options | {"fp32": str(source.file("model")), "scratch": scratch, "ranges": {}, "axes": {}}
    worker.begin(given | {"images": _IMAGES}, [])
    for _, tensors in fed(images, source):
        worker.observe({"keep": "kept"}, tensors)
    worker.quantize({}, [])


def image() -> list[np.ndarray]:
    return stored(worker._state["observations"].kept[0])


def mixes() -> dict[str, set[str]]:
    """Mix -> the operators in int8."""
    state = worker._state
    nodes = [node for node in state["model"].graph.node if node.name in state["chosen"]]
    products = [node.name for node in nodes if node.op_type in PRODUCTS]
    depthwise = [node.name for node in nodes if any(each.name == "group" and each.i > 1 for each in node.attribute)]
    fifth = len(products) // 5
    floats = {"int8": [], "first fifth float": products[:fifth], "last fifth float": products[-fifth:]}
    floats |= {"first half float": products[: len(products) // 2], "last half float": products[len(products) // 2 :]}
    floats |= {"every third float": products[::3], "depthwise float": depthwise}
    return {name: choose_nodes(state["model"], set(_FLOAT), set(names)) for name, names in floats.items()}


def times(models: list[Any], rounds: int) -> np.ndarray:
    """Processor time of each model relative to the first's: the median of rounds in which each runs once."""
    sessions, arrays, found = [session_of(model) for model in models], image(), []
    for _ in range(rounds + 1):
        row = []
        for session in sessions:
            start = time.process_time()
            run(session, arrays)
            row.append(time.process_time() - start)
        found.append(row)
    measured = np.array(found[1:])  # the first round warms up
    return np.median(measured / measured[:, :1], axis=0)


def compared(export: Path, camvid: Path, rounds: int) -> dict[str, Any]:
    """int8's time relative to fp32's; of each mix, the share of the time saved that is left, measured and estimated."""
    with tempfile.TemporaryDirectory() as scratch:
        quantized(export, camvid, scratch)
        chosen = mixes()
        models = [worker._quantized(worker._state["method"], chosen=names) for names in chosen.values()]
        _, int8, *measured = times([worker._state["model"], *models], rounds)
        estimates = Roofline(worker._state["model"], shapes(worker._state["model"], image()))
        floats, *others = (estimates.nanoseconds(names) for names in (set(), *chosen.values()))
    rows = {
        name: {
            "measured": round((1 - took) / (1 - int8), 3),
            "estimated": round((floats - e) / (floats - others[0]), 3),
        }
        for name, took, e in zip(list(chosen)[1:], measured, others[1:], strict=True)
    }
    differences = [abs(row["measured"] - row["estimated"]) for row in rows.values()]
    return {"int8_time": round(int8, 3), "median_difference": round(statistics.median(differences), 3), "mixes": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("camvid", type=Path)
    parser.add_argument("exports", type=Path, nargs="+")
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("-o", "--output", type=Path)
    given = parser.parse_args()
    found = load(given.output) if given.output and given.output.is_file() else {}
    for export in given.exports:
        if export.name in found:
            continue
        found[export.name] = compared(export, given.camvid, given.rounds)
        print(export.name, json.dumps(found[export.name], indent=1), sep="\n", flush=True)
        if given.output:
            save(given.output, found)


if __name__ == "__main__":
    main()
