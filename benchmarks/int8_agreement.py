"""What int8 gains by operators that stay float: fp32, all in int8, and the default, of each network and target.

    python benchmarks/int8_agreement.py CAMVID MODEL... [--to TARGET]... [--limit 24] [-o results.json]

MODEL is a folder, its name that of the row. Ranges come from CamVid train; agreement and mIoU are those of its val
split, a drive that is not in train. Times are processor times of one thread in turns, as ratios to fp32 in ONNX
Runtime. A network that the results have is not measured again.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import yaml
from cpu_times import in_turns
from quantize import rows
from stamped import load, save

from segexport.artifact import read_artifact
from segexport.commands.run import run
from segexport.ui.console import Console

ALL_INT8 = {"agreement": 0.0, "bias_correction": False}
_KEPT = ("name", "verdict", "miou", "miou_delta", "miou_delta_interval", "agreement", "agreement_worst", "size_bytes")


def exports(targets: list[str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [{"to": "onnx", "precision": "fp32", "name": "fp32"}]
    for target in targets:
        found.append({"to": target, "precision": "int8", "name": f"{target}-all", "calibration": ALL_INT8})
        found.append({"to": target, "precision": "int8", "name": target})
    return found


def measured(model: Path, camvid: Path, targets: list[str], limit: int, rounds: int) -> list[dict[str, Any]]:
    """One row for each export."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        recipe = {"title": model.name, "model": {"path": str(model)}, "exports": exports(targets)}
        recipe["data"] = {"path": str(camvid), "split": "val", "limit": limit}
        recipe["check"] = {"latency_seconds": 0, "worst_images": 0}
        (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
        report = run(folder / "recipe.yaml", folder / "out", feedback=Console(quiet=True))
        made = {path.parent.name: read_artifact(path.parent) for path in folder.glob("out/exports/*/manifest.json")}
        times = in_turns(made, rounds)
        return [
            {key: row[key] for key in _KEPT if row.get(key) is not None}
            | times.get(row["name"], {})
            | {"notes": _float_notes(made.get(row["name"]))}
            for row in rows(report)
        ]


def _float_notes(artifact) -> list[str]:
    """What the lineage says of agreement, float operators and biases."""
    words = ("keep their class", "biases")
    notes = [note for step in artifact.manifest.lineage for note in step.notes] if artifact else []
    return [note for note in notes if any(word in note for word in words)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("camvid", type=Path)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--to", action="append", default=[], help="a target; ONNX if none is named")
    parser.add_argument("--limit", type=int, default=24, help="images of the val split")
    parser.add_argument("--rounds", type=int, default=21, help="of the processor times")
    parser.add_argument("-o", "--output", type=Path)
    given = parser.parse_args()
    found = load(given.output) if given.output and given.output.is_file() else {}
    targets = given.to or ["onnx"]
    for model in given.models:
        known = {row["name"] for row in found.get(model.name, [])}
        if known >= {"fp32", *targets}:
            continue
        new = measured(model.resolve(), given.camvid.resolve(), targets, given.limit, given.rounds)
        found[model.name] = [row for row in found.get(model.name, []) if row["name"] not in {r["name"] for r in new}]
        found[model.name] += new
        print(model.name, json.dumps(new, indent=1), sep="\n", flush=True)
        if given.output:
            save(given.output, found)


if __name__ == "__main__":
    main()
