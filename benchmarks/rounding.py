"""Measures the rounding of weights on trained models: fp32, int8 with each rounding, w4a8, and weights alone.

    python benchmarks/rounding.py MODELS CAMVID [--only NAME] [--ways A,B] [--limit N] [-o results.json]

The models are those of `real_models.py`. Ranges and roundings come from CamVid train, everything is measured on its
val split. Latencies are taken in turn with the fp32 export's, on one thread. Each way of rounding is timed in a process
of its own, whose largest child tells its peak memory.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml
from quantize import rows, table
from real_models import recipes
from stamped import save

from segexport.artifact import write_artifact
from segexport.commands.run import run
from segexport.data.dataset import Dataset
from segexport.exporter.from_paddle import ImportOptions, import_model
from segexport.exporter.onnx_quantize import QuantizeOnnx
from segexport.exporter.onnx_weights import StoreWeights
from segexport.exporter.to_onnx import ToOnnx
from segexport.files.store import Store
from segexport.pipeline.step import StepContext
from segexport.ui.console import Console

WAYS: dict[str, dict[str, Any]] = {
    "int8-nearest": {"rounding": "nearest"},
    "int8-nearest-bias": {"rounding": "nearest", "bias_correction": True},
    "int8-compensated": {},
    "int8-compensated-bias": {"bias_correction": True},
    "w4a8-nearest": {"rounding": "nearest"},
    "w4a8": {},
    "w4a8-bias": {"bias_correction": True},
    "w8-nearest": {"rounding": "nearest"},
    "w8": {},
    "w4-nearest": {"rounding": "nearest"},
    "w4": {},
    "w4-group32": {"group_size": 32},
    "w4-group32-ends4": {"group_size": 32, "ends": 4},
}


def exports(ways: list[str]) -> list[dict]:
    """The exports: fp32, then each way of rounding."""
    found = [{"to": "onnx", "precision": "fp32", "name": "fp32"}]
    for name in ways:
        found.append({"to": "onnx", "precision": name.split("-")[0], "name": name, "calibration": WAYS[name]})
    return found


def cost(model: str, camvid: str, way: str) -> dict[str, float]:
    """Seconds of the quantization, and the peak memory of its worker."""
    with tempfile.TemporaryDirectory() as scratch:
        folder, out = Path(scratch) / "fp32", Path(scratch) / "out"
        folder.mkdir()
        out.mkdir()
        source = import_model(Path(model), ImportOptions(), Store(Path(scratch) / "store"))
        fp32 = write_artifact(folder, ToOnnx().run(source, folder, StepContext()))
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        kind, bits = (StoreWeights if way.split("-")[0] in ("w8", "w4") else QuantizeOnnx), 4 if way[:2] == "w4" else 8
        step = kind(kind.Params(**WAYS[way], weight_bits=bits))
        start = time.monotonic()
        step.run(fp32, out, StepContext(data=Dataset.open(Path(camvid), "train")))
        seconds = time.monotonic() - start
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return {"seconds": round(seconds, 1), "peak_bytes": peak << 10, "peak_before_bytes": before << 10}


def costs(model: str, camvid: str, ways: list[str]) -> dict[str, dict[str, float]]:
    """The cost of each way, each in a new process."""
    found = {}
    for way in ways:
        command = [sys.executable, __file__, model, camvid, "--cost", way]
        found[way] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path)
    parser.add_argument("camvid", type=Path)
    parser.add_argument("--only", help="one of the models")
    parser.add_argument("--ways", default=",".join(WAYS), help="separated by commas")
    parser.add_argument("--limit", type=int, help="images of the val split")
    parser.add_argument("--seconds", type=float, default=30.0, help="for all latencies of a model together")
    parser.add_argument("--cost", choices=list(WAYS), help=argparse.SUPPRESS)
    parser.add_argument("-o", "--output", type=Path)
    given = parser.parse_args()
    if given.cost:
        print(json.dumps(cost(str(given.models), str(given.camvid), given.cost)))
        return
    found, ways = {}, given.ways.split(",")
    for name, recipe in recipes(given.models.resolve(), given.camvid.resolve()).items():
        if given.only in (None, name):
            recipe["data"]["limit"] = given.limit
            recipe |= {"exports": exports(ways), "check": {"latency_seconds": given.seconds}}
            with tempfile.TemporaryDirectory() as scratch:
                path = Path(scratch) / f"{name}.yaml"
                path.write_text(yaml.safe_dump({"title": name, **recipe}))
                report = run(path, Path(scratch) / name, feedback=Console(quiet=True))
            measured = costs(recipe["model"]["path"], str(given.camvid.resolve()), ways)
            found[name] = {"images": report.dataset.images, "exports": rows(report), "costs": measured}
            print(name, table(found[name]["exports"]), json.dumps(measured, indent=1), sep="\n", flush=True)
            if given.output:  # after each model, so that an interrupted run keeps its results
                save(given.output, {"models": found})


if __name__ == "__main__":
    main()
