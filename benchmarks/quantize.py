"""Measures each way to quantize: calibrator x (bias correction, equalization), and QAT, on any model.

    python benchmarks/quantize.py MODEL DATA [--label-map FILE] [--methods mse,entropy] [--qat STEPS] [-o results.json]

DATA is in PaddleSeg's form; ranges are observed (and QAT trains) on its train split, everything is measured on its val
split. FILE is a YAML mapping from the model's classes, in their order, to the data's. Latencies are taken in turn with
the fp32 export's, on one thread; *fused* is the share of convolutions and matrix products that ONNX Runtime's profile
shows in int8.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from pathlib import Path

import yaml
from stamped import save

from segexport.commands.run import run
from segexport.recipe.calibration import Calibration
from segexport.ui.console import Console

METHODS = ("minmax", "percentile", "mse", "entropy")
KEPT = ("miou", "miou_delta", "miou_delta_interval", "agreement", "agreement_worst", "size_bytes")
KEPT += ("latency_ms", "latency_ratio", "latency_ratio_interval", "latency_baseline", "verdict")


def exports(methods: list[str], calibration: dict) -> list[dict]:
    """fp32, then every calibrator with and without each correction."""
    found = [{"to": "onnx", "precision": "fp32", "name": "fp32"}]
    for method, bias, equalize in itertools.product(methods, (False, True), (False, True)):
        name = "-".join([method, *(["bias"] if bias else []), *(["cle"] if equalize else [])])
        options = {**calibration, "method": method, "bias_correction": bias, "equalize": equalize}
        found.append({"to": "onnx", "precision": "int8", "name": name, "calibration": options})
    return found


def rows(report) -> list[dict]:
    """One row per export of a report."""
    found = []
    for export in report.model_dump(mode="json")["exports"]:
        audit = next((check for check in export["checks"] if check["name"] == "audit.precision"), {})
        fused = None if export["precision"] in ("w8", "w4") else audit.get("value")  # these count operators
        found.append({"name": export["name"], **{key: export.get(key) for key in KEPT}, "fused": fused})
    return found


def table(found: list[dict]) -> str:
    """Formats the rows as Markdown."""
    lines = ["| export | mIoU | delta | agreement | worst image | time / fp32 | fused | size |", "|---|" + "---|" * 7]
    for row in found:
        percent = {
            key: "–" if row[key] is None else f"{row[key]:.2%}" for key in ("agreement", "agreement_worst", "fused")
        }
        miou = "–" if row["miou"] is None else f"{row['miou']:.4f}"
        delta = "–" if row["miou_delta"] is None else f"{row['miou_delta']:+.4f}"
        against = row["latency_ratio"] if row["latency_baseline"] != "reference" else None
        time_ratio = "–" if against is None else f"{against:.2f}"
        cells = (row["name"], miou, delta, percent["agreement"], percent["agreement_worst"], time_ratio)
        lines.append("| " + " | ".join((*cells, percent["fused"], f"{row['size_bytes']:,}")) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--label-map", type=Path, help="YAML: class of the model -> class of the data")
    parser.add_argument("--methods", default=",".join(METHODS), help="calibrators, separated by commas; '' for none")
    parser.add_argument("--calibration-images", type=int, default=Calibration().images)
    parser.add_argument("--rounding", choices=("nearest", "compensated"), default=Calibration().rounding)
    parser.add_argument("--limit", type=int, help="images of the val split")
    parser.add_argument("--seconds", type=float, default=60.0, help="for all latencies together")
    parser.add_argument("--qat", type=int, default=0, metavar="STEPS", help="QAT of so many steps; 0: none")
    parser.add_argument("--qat-params", type=yaml.safe_load, default={}, help="more parameters of step qat, as YAML")
    parser.add_argument("-o", "--output", type=Path)
    given = parser.parse_args()

    methods = [name for name in given.methods.split(",") if name]
    model = {"path": str(given.model.resolve())}
    data = {"path": str(given.data.resolve()), "split": "val", "limit": given.limit}
    if given.label_map:
        data["label_map"] = yaml.safe_load(given.label_map.read_text())
        model["labels"] = list(data["label_map"])
    calibration = {"images": given.calibration_images, "rounding": given.rounding}
    common = {"model": model, "data": data, "check": {"latency_seconds": given.seconds}}
    recipes = {"ptq": {**common, "exports": exports(methods, calibration)}} if methods else {}
    if given.qat:
        step = {"step": "qat", "params": {"steps": given.qat, **given.qat_params}}
        trained = [{"to": "onnx", "precision": "fp32", "name": "trained-fp32"}]
        trained += [{"to": "onnx", "precision": "int8", "name": "qat", "calibration": calibration}]
        recipes["qat"] = {**common, "steps": [step], "exports": trained}

    found, seconds = [], {}
    with tempfile.TemporaryDirectory() as scratch:
        for name, recipe in recipes.items():
            path = Path(scratch) / f"{name}.yaml"
            path.write_text(yaml.safe_dump(recipe))
            start = time.monotonic()
            report = run(path, Path(scratch) / name, feedback=Console(quiet=True))
            seconds[name] = round(time.monotonic() - start, 1)
            found += rows(report)
    print(table(found))
    if given.output:
        result = {"model": given.model.name, "exports": found}
        result |= {"seconds": seconds, "calibration": calibration, "qat": given.qat_params}
        save(given.output, result)


if __name__ == "__main__":
    main()
