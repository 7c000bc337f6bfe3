"""Makes every export of real trained models and checks it on CamVid val.

    python benchmarks/real_models.py MODELS CAMVID [-o results.json] [--only NAME]

MODELS holds `espnet_cityscapes`, `camvid_small`, `fastscnn_camvid` and `segformer_b0_camvid`, CAMVID the data in
PaddleSeg's form. ESPNet's 19 Cityscapes classes are scored on CamVid's 11 through a label map. Latencies are taken in
turn on one thread. CamVid val is one drive, so what is gated is told for its frames alone (see docs/videos.md).
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import yaml
from stamped import save

from segexport.commands.run import run
from segexport.ui.console import Console

# Cityscapes' classes in their order -> CamVid's.
TO_CAMVID = {
    "road": "road",
    "sidewalk": "pavement",
    "building": "building",
    "wall": "building",
    "fence": "fence",
    "pole": "pole",
    "traffic light": "signsymbol",
    "traffic sign": "signsymbol",
    "vegetation": "tree",
    "terrain": "tree",
    "sky": "sky",
    "person": "pedestrian",
    "rider": "bicyclist",
    "car": "car",
    "truck": "car",
    "bus": "car",
    "train": "car",
    "motorcycle": "bicyclist",
    "bicycle": "bicyclist",
}
EXPORTS = [
    {"to": "onnx", "precision": "fp32"},
    {"to": "onnx", "precision": "fp16"},
    {"to": "onnx", "precision": "int8"},
    {"to": "paddle-lite", "precision": "fp32"},
    {"to": "paddle-lite", "precision": "fp16"},
    {"to": "paddle-lite", "precision": "w8"},
]
KEPT = (
    "name",
    "verdict",
    "miou",
    "miou_reference",
    "miou_delta",
    "miou_delta_interval",
    "agreement",
    "agreement_worst",
)
KEPT += ("size_bytes", "size_ratio", "latency_ms", "latency_ratio", "latency_ratio_interval", "latency_baseline")


def recipes(models: Path, camvid: Path) -> dict[str, dict]:
    """Name of a model -> its recipe."""
    data = {"path": str(camvid), "split": "val"}
    espnet = {"path": str(models / "espnet_cityscapes/export_argmax"), "labels": list(TO_CAMVID)}
    each = {"espnet_cityscapes": {"model": espnet, "data": {**data, "label_map": TO_CAMVID}}}
    for name in ("camvid_small", "fastscnn_camvid", "segformer_b0_camvid"):
        each[name] = {"model": {"path": str(models / name)}, "data": data}
    return {name: {**given, "exports": EXPORTS, "check": {"latency_seconds": 20.0}} for name, given in each.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path)
    parser.add_argument("camvid", type=Path)
    parser.add_argument("--only", help="one of them")
    parser.add_argument("-o", "--output", type=Path)
    given = parser.parse_args()
    found = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for name, recipe in recipes(given.models.resolve(), given.camvid.resolve()).items():
            if given.only in (None, name):
                path = folder / f"{name}.yaml"
                path.write_text(yaml.safe_dump({"title": name, **recipe}))
                start = time.monotonic()
                report = run(path, folder / name, feedback=Console(quiet=True))
                rows = [{key: export.model_dump(mode="json")[key] for key in KEPT} for export in report.exports]
                for row, export in zip(rows, report.exports, strict=True):
                    row["not_passed"] = [c.message for c in export.checks if c.gated and c.verdict.value != "PASS"]
                reference = report.reference
                found[name] = {
                    "verdict": report.verdict.value,
                    "images": report.dataset.images,
                    "reference": {
                        "runtime": f"{reference.runtime} {reference.provider}",
                        "device": reference.device,
                        "miou": reference.miou,
                        "p50_ms": reference.latency.inference_ms.p50 if reference.latency else None,
                    },
                    "seconds": round(time.monotonic() - start, 1),
                    "exports": rows,
                }
                if given.output:  # after each model, so that an interrupted run keeps its results
                    save(given.output, {"models": found})
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
