"""Prunes in one cut, or in several with training after each, and trains the same number of steps; all of val judges.

    python benchmarks/prune_schedule.py CAMVID NAME=MODEL... [-o results.json] [--keep-macs 0.4] [--steps 600]
        [--cuts 1]... [--cuts 2]... [--seed 0]... [--criterion fisher] [--widths uniform] [--stages 1]
        [--lovasz 0.5]

The original is teacher and reference. Every cut leaves the same fraction of the one before. With several cuts, the
last training gets half of the steps and the others share the rest. Rows that the results have are kept, and a killed
run goes on from its last checkpoint. With --keep-macs 1, nothing is cut: what the training alone gains.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from itertools import product
from pathlib import Path
from typing import Any

import yaml
from stamped import RESULTS, load, save

from segexport.commands.run import run
from segexport.ui.console import Console

RESULT = RESULTS / "prune_schedule.json"
KEPT = ("miou", "miou_reference", "miou_delta", "miou_delta_interval", "agreement", "size_bytes")


def lengths(steps: int, cuts: int) -> list[int]:
    """The steps of training after each cut."""
    if cuts == 1:
        return [steps]
    early = steps // 2 // (cuts - 1)
    return [early] * (cuts - 1) + [steps - early * (cuts - 1)]


def recipe(model: Path, given: argparse.Namespace, cuts: int, seed: int) -> dict[str, Any]:
    pruning = {"keep_macs": given.keep_macs ** (1 / cuts), "criterion": given.criterion, "widths": given.widths}
    pruning |= {"stages": given.stages, "reconstruct": True, "images": given.images}
    learning = {
        "batch_size": given.batch,
        "teacher": str(model),
        "learning_rate": given.learning_rate,
        "lr_decay": "cosine",
        "ema": 0.99,
        "losses": {"cross_entropy": 0.25, "kl": 1.0, "lovasz": given.lovasz},
        "losses_before_enlarging": True,
        "augmentation": {"views": 3},
    }
    steps = []
    for length in lengths(given.steps, cuts):
        if given.keep_macs < 1:
            steps.append({"step": "prune", "params": pruning})
        if length:
            steps.append({"step": "finetune", "params": {"steps": length, **learning}})
    return {
        "title": f"{cuts} cuts",
        "seed": seed,
        "model": {"path": str(model)},
        "data": {"path": str(given.camvid.resolve())},
        "steps": steps,
        "exports": [{"to": "onnx", "name": "pruned"}],
        "check": {"latency_seconds": 0, "worst_images": 0},
    }


def row(report: Any, out: Path) -> dict[str, Any]:
    export = report.exports[0].model_dump(mode="json")
    manifest = yaml.safe_load((out / "exports" / "pruned" / "manifest.json").read_text())
    notes = [note for entry in manifest["lineage"] if entry["step"] in ("prune", "finetune") for note in entry["notes"]]
    return {"images": report.dataset.images, **{key: export.get(key) for key in KEPT}, "notes": notes}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("camvid", type=Path)
    parser.add_argument("models", nargs="+", help="NAME=PATH")
    parser.add_argument("--keep-macs", type=float, default=0.4)
    parser.add_argument("--criterion", default="fisher")
    parser.add_argument("--widths", default="uniform")
    parser.add_argument("--stages", type=int, default=1, help="of each cut, without training between them")
    parser.add_argument("--images", type=int, default=48, help="of train, that pruning looks at")
    parser.add_argument("--cuts", type=int, action="append")
    parser.add_argument("--seed", type=int, action="append")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--learning-rate", type=float, default=1.5e-3)
    parser.add_argument("--lovasz", type=float, default=0.0, help="weight of the Lovasz-Softmax loss")
    parser.add_argument("-o", "--output", type=Path, default=RESULT)
    given = parser.parse_args()
    found = load(given.output) if given.output.is_file() else {}
    for seed, named, cuts in product(given.seed or [0], given.models, given.cuts or [2, 1]):
        name, path = named.split("=", 1)
        how = {what: getattr(given, what) for what in ("keep_macs", "criterion", "widths", "stages", "steps", "batch")}
        how |= {"lovasz": given.lovasz} if given.lovasz else {}  # rows without it have older names
        key = " ".join([name, f"cuts={cuts}", *(f"{what}={value}" for what, value in how.items()), f"seed={seed}"])
        if key in found:
            continue
        started = time.monotonic()
        with tempfile.TemporaryDirectory() as scratch:
            file, out = Path(scratch) / "schedule.yaml", Path(scratch) / "out"
            file.write_text(yaml.safe_dump(recipe(Path(path).resolve(), given, cuts, seed), sort_keys=False))
            report = run(file, out, feedback=Console())
            found[key] = row(report, out) | {"minutes": round((time.monotonic() - started) / 60, 1)}
        print(key, found[key], flush=True)
        save(given.output, found)


if __name__ == "__main__":
    main()
