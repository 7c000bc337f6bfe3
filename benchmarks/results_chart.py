"""Draws README's picture: size, time and mIoU of real trained networks in int8.

python benchmarks/results_chart.py [benchmarks/results/real_models.json] [-o docs/images/results.png]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from stamped import REPOSITORY, RESULTS, load

EXPORT, BASELINE = "onnx-int8", "onnx-fp32"
# Okabe and Ito's palette, which colour-blind people can tell apart.
COLORS = {"size": "#0072B2", "time": "#E69F00"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="?", default=RESULTS / "real_models.json")
    parser.add_argument("-o", "--output", type=Path, default=REPOSITORY / "docs/images/results.png")
    given = parser.parse_args()
    draw(load(given.results)["models"], given.output)


def draw(models: dict[str, dict], output: Path) -> None:
    """Draws a row per model: bars of int8's size and time relative to fp32 ONNX, and the loss of mIoU."""
    figure, axes = plt.subplots(figsize=(8, 0.75 * len(models) + 0.9), dpi=120)
    for place, found in enumerate(models.values()):
        exports = {export["name"]: export for export in found["exports"]}
        int8, fp32 = exports[EXPORT], exports[BASELINE]
        ratios = {"size": int8["size_bytes"] / fp32["size_bytes"], "time": int8["latency_ratio"]}
        for offset, (what, ratio) in zip((-0.19, 0.19), ratios.items(), strict=True):
            axes.barh(place + offset, ratio, height=0.36, color=COLORS[what], label=what if place == 0 else None)
            axes.text(ratio + 0.01, place + offset, f"{ratio:.2f}x", va="center", fontsize=8)
        axes.text(1.04, place, told(int8), va="center", fontsize=9)
    axes.axvline(1.0, color="#999999", linewidth=1)
    axes.set_yticks(range(len(models)), [name.replace("_", " ") for name in models])
    axes.set_xlim(0, 1.45)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1.0], ["0", "0.25", "0.5", "0.75", "fp32 = 1"])
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title("int8 in ONNX Runtime, over the fp32 export of the same network", fontsize=10, loc="left")
    axes.legend(frameon=False, fontsize=8, loc="lower right", ncols=2)
    figure.tight_layout()
    output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(output)


def told(export: dict) -> str:
    """The verdict with the loss of mIoU."""
    delta = export["miou_delta"]
    return f"{export['verdict']}: mIoU {delta:+.4f}" if delta is not None else f"{export['verdict']}"


if __name__ == "__main__":
    main()
