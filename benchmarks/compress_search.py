"""Runs `segexport compress` on real models and records the chosen and the rejected candidates.

    nice python benchmarks/compress_search.py MODELS CAMVID -o results.json [--only NAME] [--minutes 30] [--train]
        [--input-size 1024x512]

MODELS holds `espnet_cityscapes` and `camvid_small`, CAMVID the data in PaddleSeg's form: train calibrates, the first
half of val is searched with, the second half is for the verdict. ESPNet takes any size: `--input-size` resizes the
images to it, which makes a slow network of it. Run it on a machine that does nothing else: latencies
choose.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import yaml
from real_models import TO_CAMVID
from stamped import save

from segexport.commands.compress import CompressOptions, compress
from segexport.exporter.from_paddle import ImportOptions
from segexport.spec import Preprocess, Resize
from segexport.ui.console import Console

MODELS = {  # path, allowed loss of mIoU, whether its classes are those of Cityscapes
    "espnet_cityscapes": ("espnet_cityscapes/export_argmax", 0.01, True),
    "camvid_small": ("camvid_small", 0.005, False),
}
KEPT_OF_A_TRY = ("stage", "idea", "rung", "images", "miou_delta", "miou_interval", "agreement")
KEPT_OF_A_TRY += ("distance", "latency_ratio", "latency_interval", "size_bytes", "macs", "reason", "error")


def options(given: argparse.Namespace, drop: float, label_map: Path | None) -> CompressOptions:
    return CompressOptions(
        data=given.camvid,
        max_miou_drop=drop,
        objective=given.objective,
        budget_minutes=given.minutes,
        train=given.train,
        label_map=label_map,
        latency_seconds=30.0,
    )


def imported(input_size: str | None, cityscapes: bool) -> ImportOptions:
    if not cityscapes:
        return ImportOptions()
    if not input_size:
        return ImportOptions(labels=tuple(TO_CAMVID))
    width, height = map(int, input_size.split("x"))
    contract = Preprocess(geometry=(Resize(width=width, height=height),))
    return ImportOptions(labels=tuple(TO_CAMVID), input_size=(width, height), preprocess=contract)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path)
    parser.add_argument("camvid", type=Path)
    parser.add_argument("--only", choices=MODELS)
    parser.add_argument("--objective", default="latency")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--train", action="store_true", help="also prune, fine-tune and train with int8's rounding")
    parser.add_argument("--input-size", help="Of ESPNet, WIDTHxHEIGHT.")
    parser.add_argument("--keep", type=Path, help="folder for the whole outputs")
    parser.add_argument("-o", "--output", type=Path)
    given = parser.parse_args()
    found = {}
    with tempfile.TemporaryDirectory() as scratch:
        label_map = Path(scratch) / "to_camvid.yaml"
        label_map.write_text(yaml.safe_dump(TO_CAMVID))
        for name, (place, drop, cityscapes) in MODELS.items():
            if given.only in (None, name):
                importing = imported(given.input_size, cityscapes)
                folder = (given.keep or Path(scratch)) / name
                arguments = options(given, drop, label_map if cityscapes else None)
                start = time.monotonic()
                done = compress(given.models / place, folder, importing, arguments, feedback=Console())
                summary, report = done.summary, done.report
                rows = [export.model_dump(mode="json") for export in report.exports]
                kept = ("name", "verdict", "miou", "miou_delta", "miou_delta_interval", "agreement", "size_bytes")
                kept += ("latency_ratio", "latency_ratio_interval", "latency_baseline")
                found[name] = {
                    "max_miou_drop": drop,
                    "objective": given.objective,
                    "sentence": summary.sentence,
                    "images": summary.images,
                    "budget_minutes": given.minutes,
                    "search_minutes": round(summary.spent_seconds / 60, 1),
                    "whole_minutes": round((time.monotonic() - start) / 60, 1),
                    "verdict": [{key: row[key] for key in kept} for row in rows],
                    "notes": summary.notes,
                    "left_out": summary.left_out,
                    "tries": [{key: one[key] for key in KEPT_OF_A_TRY} for one in summary.tries],
                }
    if given.output:
        save(given.output, {"models": found})
    else:
        print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
