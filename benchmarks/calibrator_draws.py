"""Compares calibrators over several draws of the calibration images, because results differ between draws.

    python benchmarks/calibrator_draws.py MODEL ... --data DIR [--draws 5] [--images 32] [--limit N] [--without-bias]
        [--json FILE]

Each draw takes --images images of the train split, one from each of as many equal parts of the list, and quantizes the
model to ONNX int8 with every calibrator, with and without bias correction. Each export is checked on the val split.
`mean` and `sd` (of single draws, n - 1) are over the draws, of the change of mIoU and of the fraction of pixels that
agree with fp32. `paired` is the difference from `mse` on the same draw, with the 95 % interval of Student's t: if it
contains 0, the draws do not distinguish the two. An existing file keeps its other models.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from pathlib import Path

import numpy as np
import yaml
from stamped import RESULTS, load, save

from segexport.commands.run import run
from segexport.measure.student_t import student_t_quantile
from segexport.ui.console import Console

METHODS = ("mse", "minmax", "percentile", "entropy")
MEASURED = {"miou_delta": 5, "agreement": 5}  # -> digits


def draw(model: Path, seed: int, given: argparse.Namespace) -> dict[str, dict[str, float]]:
    """The results of every int8 export of one draw."""
    exports = []
    for method, bias in itertools.product(METHODS, (False,) if given.without_bias else (False, True)):
        calibration = {"method": method, "bias_correction": bias, "images": given.images}
        name = f"{method}-bias" if bias else method
        exports.append({"to": "onnx", "precision": "int8", "name": name, "calibration": calibration})
    recipe = {
        "model": {"path": str(model.resolve())},
        "data": {"path": str(given.data.resolve()), "split": "val", "limit": given.limit},
        "check": {"latency_seconds": 0, "worst_images": 0},
        "seed": seed,
        "exports": exports,
    }
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "recipe.yaml"
        path.write_text(yaml.safe_dump(recipe))
        report = run(path, Path(scratch) / "report", feedback=Console(quiet=True))
    return {export.name: {what: getattr(export, what) for what in MEASURED} for export in report.exports}


def compared(draws: list[dict[str, dict[str, float]]]) -> dict[str, dict]:
    """Mean and standard deviation of each calibrator, and its paired difference from the first one."""
    found: dict[str, dict] = {}
    for name in draws[0]:
        found[name] = {}
        for what, digits in MEASURED.items():
            values = np.array([each[name][what] for each in draws])
            first = np.array([each[METHODS[0]][what] for each in draws])
            found[name][what] = {
                "mean": round(float(values.mean()), digits),
                "sd": round(float(values.std(ddof=1)), digits),
                "draws": [round(float(value), digits) for value in values],
                "paired": None if name == METHODS[0] else _interval(values - first, digits),
            }
    return found


def _interval(differences: np.ndarray, digits: int) -> dict[str, float]:
    count = len(differences)
    half = student_t_quantile(0.975, count - 1) * differences.std(ddof=1) / np.sqrt(count)
    mean = differences.mean()
    return {key: round(float(v), digits) for key, v in (("mean", mean), ("low", mean - half), ("high", mean + half))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--limit", type=int, help="images of the val split")
    parser.add_argument("--without-bias", action="store_true", help="no bias correction, in half the time")
    parser.add_argument("--json", type=Path, default=RESULTS / "calibrator_draws.json")
    given = parser.parse_args()
    for model in given.models:
        draws = [draw(model, seed, given) for seed in range(given.draws)]
        rows = load(given.json) if given.json.is_file() else {}
        rows[model.name] = {
            "draws": given.draws,
            "images": given.images,
            "val_images": given.limit or "all",
            "calibrators": compared(draws),
        }
        save(given.json, dict(sorted(rows.items())))
        for name, one in rows[model.name]["calibrators"].items():
            print(model.name, name, {what: (one[what]["mean"], one[what]["sd"]) for what in MEASURED}, flush=True)


if __name__ == "__main__":
    main()
