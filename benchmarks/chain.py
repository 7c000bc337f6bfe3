"""The whole chain: prune, fine-tune with the original as teacher, 8- and 4-bit export; all against fp32 ONNX.

    python benchmarks/chain.py MODEL --data CAMVID -o results.json [--keep-macs 0.46] [--widths global]
        [--steps 1800] [--lovasz 0] [--views 3] [--zoom 1.5] [--agreement 0.995] [--seconds 60]

One recipe: the pruned network in fp32, int8 and w4a8 (weights rounded with compensation), in ONNX Runtime and in the
other runtimes of x86 that are installed, and the original in fp32 ONNX, which times and sizes are divided by. Wanted
are a tenth of the size and a third of the time at a loss of at most 0.01 mIoU, of one export. All images of val judge
once: nothing is chosen on them. A run that was killed goes on where it stopped.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from stamped import save

from segexport.artifact import read_artifact
from segexport.commands.run import run
from segexport.measure.latency_statistics import latency_ratio
from segexport.pipeline.registry import runtimes
from segexport.ui.console import Console

SIZE, TIME, LOSS = 0.1, 1 / 3, 0.01
KEPT = ("name", "verdict", "miou", "miou_delta", "miou_delta_interval", "agreement", "size_bytes")
KEPT += ("latency_ratio", "latency_ratio_interval", "latency_baseline", "error")


def recipe(given: argparse.Namespace) -> dict[str, Any]:
    pruning = {"keep_macs": given.keep_macs, "criterion": "fisher", "widths": given.widths}
    pruning |= {"stages": given.stages, "reconstruct": True, "images": 48}
    learning = {
        "steps": given.steps,
        "batch_size": 8,
        "teacher": str(given.model.resolve()),
        "learning_rate": 1.5e-3,
        "lr_decay": "cosine",
        "ema": 0.99,
        "losses": {"cross_entropy": 0.25, "kl": 1.0, "lovasz": given.lovasz},
        "losses_before_enlarging": True,
        "augmentation": {"views": given.views, "zoom": given.zoom},
    }
    steps = {"prune": pruning} | ({"finetune": learning} if given.steps else {})
    return {
        "title": "pruned, distilled, 8 and 4 bits",
        "model": {"path": str(given.model.resolve())},
        "data": {"path": str(given.data.resolve())},
        "steps": [{"step": name, "params": params} for name, params in steps.items()],
        "exports": [{"to": "onnx", "name": "original", "without": list(steps)}, *pruned(given.agreement)],
        "check": {"latency_seconds": given.seconds, "latency": "warn", "worst_images": 0},
    }


def pruned(agreement: float) -> list[dict[str, Any]]:
    """The exports of the pruned network; 8 and 4 bits of the runtimes that are installed."""
    made = [("onnx", "fp32"), ("onnx", "int8"), ("onnx", "w4a8"), ("openvino", "int8"), ("litert", "int8")]
    here = {name for name, runtime in runtimes().items() if runtime.probe().ok} | {"onnx"}
    found: list[dict[str, Any]] = [
        {"to": to, "name": f"{to}-{precision}", "precision": precision, "limits": {"miou_margin": LOSS}}
        for to, precision in made
        if to in here
    ]
    for export in found:
        if export["precision"] == "int8":
            export["calibration"] = {"agreement": agreement}
    return found


def reached(row: dict[str, Any]) -> dict[str, bool]:
    """Which goals an export meets: of time and loss with the whole 95 % interval, which a busy machine makes wide."""
    times, losses = row["latency_ratio_interval"], row["miou_delta_interval"]
    return {
        "size": 0 < row["size_ratio"] <= SIZE,
        "time": times is not None and times[1] <= TIME,
        "loss": losses is not None and losses[0] >= -LOSS,
    }


def to_original(row: dict[str, Any], original: dict[str, Any]) -> dict[str, Any]:
    """The time relative to the original's fp32 ONNX export.

    The check compares ONNX exports with it, and those of other formats, without an fp32 export of their own, with
    Paddle, where that ran optimized. But all were timed in turn, session by session, so sessions are compared here.
    """
    if row["latency_baseline"] == original["name"]:
        return {}
    if not row["latency"] or not original["latency"]:
        return {"latency_ratio": None, "latency_ratio_interval": None}
    times = (np.asarray(one["latency"]["sessions_ms"])[:, None, None] for one in (row, original))
    ratio = latency_ratio(*times)
    return {"latency_ratio": ratio.value, "latency_ratio_interval": ratio.interval}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--keep-macs", type=float, default=0.46)
    parser.add_argument("--widths", default="global")
    parser.add_argument("--stages", type=int, default=3)
    parser.add_argument("--steps", type=int, default=1800, help="of training; 0: none")
    parser.add_argument("--lovasz", type=float, default=0.0, help="weight of the Lovasz-Softmax loss")
    parser.add_argument("--views", type=int, default=3, help="of each image that training repeats; 0: always new ones")
    parser.add_argument("--zoom", type=float, default=1.5, help="of a view, at most")
    parser.add_argument("--agreement", type=float, default=0.995, help="below which int8 leaves operators in float")
    parser.add_argument("--seconds", type=float, default=60.0, help="of timing")
    given = parser.parse_args()
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        file, out = Path(scratch) / "chain.yaml", Path(scratch) / "out"
        file.write_text(yaml.safe_dump(recipe(given), sort_keys=False))
        report = run(file, out, feedback=Console())
        lineage = read_artifact(out / "exports" / "onnx-fp32").manifest.lineage
    rows = [row.model_dump(mode="json") for row in report.exports]
    original = next(row for row in rows if row["name"] == "original")
    found = []
    for row in rows:
        one = {key: row.get(key) for key in KEPT}
        if row["name"] != "original":
            one["size_ratio"] = (row["size_bytes"] or 0) / original["size_bytes"]
            one |= to_original(row, original) | {"latency_baseline": original["name"]}
            one["reached"] = reached(one)
        found.append(one)
    trained = {entry.step: entry.notes for entry in lineage if entry.step in ("prune", "finetune")}
    minutes = round((time.monotonic() - start) / 60, 1)
    wanted = {"size_ratio": SIZE, "latency_ratio": round(TIME, 3), "miou_loss": LOSS}
    save(given.output, {"wanted": wanted, "steps": trained, "exports": found, "minutes": minutes})


if __name__ == "__main__":
    main()
