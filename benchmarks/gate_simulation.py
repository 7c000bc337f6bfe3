"""Simulates how often the mIoU gate passes an export that loses exactly its margin, on real per-image confusions.

The images of CamVid val and the model's masks are the population, so the true delta is known. Exports that lose exactly
the margin are mixed from a sound export and a broken one, tile by tile. Sets of images are drawn with replacement and
judged by the gate: false passes at the margin should stay at 5 % or less. Power is measured on a quarter of the sets,
with exports that lose half the margin, or nothing.

A loss in only a part of the images passes in sets without these images, and hardly in any other (columns "unseen" and
"seen"). The number of required images limits such unseen losses: with `gates.PASS_IMAGES` they are under 5 % if one
image in five is affected; one in ten needs 29 images.

Here images are drawn as if they were independent; `frame_simulation.py` draws videos.

    python benchmarks/gate_simulation.py --model ../shared/models/camvid_small --camvid CAMVID --work WORK

`--work` stores the masks; the model runs once. The first run needs paddle2onnx, onnx and onnxruntime.
"""

from __future__ import annotations

import argparse
import math
import platform
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import NormalDist

import numpy as np
from bootstrap_speed import cpu_name
from damaged_masks import Scenario, counts_of, masks_of, mixed, versions
from stamped import save

from segexport.judge import bootstrap
from segexport.judge.bootstrap import holm, paired_delta
from segexport.judge.gates import FAMILY_LEVEL, PASS_IMAGES, miou_check
from segexport.measure.student_t import student_t_quantile
from segexport.recipe.limits import Limits
from segexport.verdict import Verdict

RESULT = Path(__file__).parent / "results" / "gate_simulation.json"
SET_SIZES = (10, 14, 25, 50, 101)
PEDESTRIAN, CAR = 9, 8


SCENARIOS = (
    Scenario("int8, 4-bit weights in places", "int8", "weights_4_bit", 0.01),
    Scenario("fp32, 3-bit weights in places", "reference", "weights_3_bit", 0.01),
    Scenario("5-bit weights, blurred input in places", "weights_5_bit", "blurred", 0.005),
    Scenario("fp16 weights, darkened input in places", "fp16", "darkened", 0.001),
    Scenario("int8, half of the images damaged", "int8", "weights_3_bit", 0.01, images=0.5),
    Scenario("int8, only pedestrians damaged", "int8", "weights_3_bit", 0.01, only_class=PEDESTRIAN),
    Scenario("int8, only cars damaged", "int8", "swapped_channels", 0.01, only_class=CAR),
    Scenario("int8, a fifth of the images damaged", "int8", "weights_3_bit", 0.01, images=0.2),
    Scenario("int8, a tenth of the images damaged", "int8", "weights_3_bit", 0.01, images=0.1),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, help="folder of camvid_small")
    parser.add_argument("--camvid", type=Path, required=True, help="CamVid in PaddleSeg's form")
    parser.add_argument("--work", type=Path, required=True, help="masks and intermediate models are kept here")
    parser.add_argument("--repeats", type=int, default=1000)
    parser.add_argument("--resamples", type=int, default=1000)
    options = parser.parse_args()
    masks = masks_of("val", options.model, options.camvid, options.work)
    start = time.perf_counter()
    rows = []
    for scenario in SCENARIOS:
        rows += simulate(scenario, masks, options.repeats, options.resamples)
        print(f"{time.perf_counter() - start:6.0f} s: {scenario.name}", file=sys.stderr)
    result = {
        "what": "rates in %, of image sets drawn with replacement from CamVid val (101 images, 11 classes)",
        "repeats": options.repeats,
        "resamples": options.resamples,
        "monte_carlo_standard_error_at_5_percent": round(100 * math.sqrt(0.05 * 0.95 / options.repeats), 2),
        "device": cpu_name(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "versions_of_the_model_run": versions(options.work),
        "seconds": round(time.perf_counter() - start),
        "rows": rows,
    }
    RESULT.parent.mkdir(exist_ok=True)
    save(RESULT, result)
    print_table(rows)


def simulate(scenario: Scenario, masks: dict[str, np.ndarray], repeats: int, resamples: int) -> Iterator[dict]:
    """Yields one row per set size."""
    reference = counts_of(masks["reference"], masks["truth"])
    populations = [mixed(scenario, masks, reference, share * scenario.margin) for share in (1.0, 0.5, 0.0)]
    truths = [paired_delta(reference, population, resamples=2) for population in populations]
    damaged = (populations[0] != populations[2]).any((1, 2))
    for images in SET_SIZES:
        rng = np.random.default_rng(images)
        draws = rng.integers(0, len(reference), (repeats, images))
        tallies = dict.fromkeys(("gate", "interval", "seen", "false_fail", "percentile", "bca", "t", "holm"), 0)
        for seed, drawn in enumerate(draws):
            found = paired_delta(reference[drawn], populations[0][drawn], resamples=resamples, seed=seed)
            verdict = miou_check(found, Limits(miou_margin=-truths[0].delta), agreement=0.0).verdict
            tallies["gate"] += verdict is Verdict.PASS
            inside = found.interval[0] >= truths[0].delta
            tallies["interval"] += inside
            tallies["seen"] += inside and damaged[drawn].any()
            tallies["false_fail"] += verdict is Verdict.FAIL
            for name, lower in other_lower_bounds(reference[drawn], populations[0][drawn], resamples, seed).items():
                tallies[name] += lower >= truths[0].delta
            p_values = [
                one.p_not_worse_than(-true.delta) for one, true in zip(found.classes, truths[0].classes, strict=True)
            ]
            tallies["holm"] += min(holm(p_values)) < FAMILY_LEVEL
        fewer = draws[: max(1, repeats // 4)]
        found = [
            [paired_delta(reference[drawn], population[drawn], resamples=resamples) for drawn in fewer]
            for population in populations[1:]
        ]
        detectable = float(np.mean([one.smallest_detectable for one in found[1]]))
        lower = [
            np.array([one.interval[0] - truth.delta for one in row])
            for row, truth in zip(found, truths[1:], strict=True)
        ]
        rates = {name: round(100 * count / repeats, 2) for name, count in tallies.items()}
        # a lower end within the slack below the true delta is inside a margin with that slack
        powers = {
            name: round(100 * float((low >= -slack).mean()), 1) if images >= PASS_IMAGES else 0.0
            for name, low, slack in (
                ("half", lower[0], scenario.margin / 2),
                ("zero", lower[1], scenario.margin),
                ("detect", lower[1], detectable),
            )
        }
        row = {
            "scenario": scenario.name,
            "margin": scenario.margin,
            "true_delta": round(truths[0].delta, 6),
            "images": images,
            "false_pass_at_margin": rates["gate"],
            "interval_inside_at_margin": rates["interval"],
            "interval_inside_though_damage_was_seen": rates["seen"],
            "false_fail_at_margin": rates["false_fail"],
            "false_pass_of_plain_percentile": rates["percentile"],
            "false_pass_of_bca": rates["bca"],
            "false_pass_of_t": rates["t"],
            "pass_at_half_margin": powers["half"],
            "pass_at_zero_loss": powers["zero"],
            "smallest_detectable": round(detectable, 5),
            "pass_at_zero_loss_with_that_margin": powers["detect"],
            "class_gate_family_wise_error": rates["holm"],
            "sets_without_a_damaged_image": round(100 * (1 - damaged.mean()) ** images, 2),
        }
        yield row


def other_lower_bounds(reference: np.ndarray, export: np.ndarray, resamples: int, seed: int) -> dict[str, float]:
    """Lower 97.5 % bounds of other kinds of intervals, from separate resamples."""
    normal = NormalDist()
    features = bootstrap._features(reference, export)
    influences = features @ bootstrap._gradient(features.sum(0))
    delta, images = float(bootstrap._mean_difference(features.sum(0))), len(features)
    error = bootstrap._standard_error(influences)
    weights = np.random.default_rng(seed).multinomial(images, np.full(images, 1 / images), size=resamples)
    deltas = bootstrap._mean_difference(weights @ features)
    below = ((deltas < delta).mean() + (deltas <= delta).mean()) / 2
    bias = normal.inv_cdf(min(max(below, 1 / resamples), 1 - 1 / resamples))
    acceleration = (influences**3).sum() / (6 * (influences**2).sum() ** 1.5)
    shifted = bias + normal.inv_cdf(0.025)
    level = normal.cdf(bias + shifted / (1 - acceleration * shifted))
    return {
        "percentile": float(np.quantile(deltas, 0.025)),
        "bca": float(np.quantile(deltas, level)),
        "t": delta - student_t_quantile(0.975, images - 1) * error,
    }


def print_table(rows: list[dict]) -> None:
    columns = {
        "images": "images",
        "false_pass_at_margin": "false pass",
        "sets_without_a_damaged_image": "unseen",
        "interval_inside_though_damage_was_seen": "seen",
        "false_pass_of_plain_percentile": "(percentile",
        "false_pass_of_bca": "BCa",
        "false_pass_of_t": "t)",
        "false_fail_at_margin": "false fail",
        "pass_at_half_margin": "pass at half",
        "pass_at_zero_loss": "at zero",
        "smallest_detectable": "detectable",
        "pass_at_zero_loss_with_that_margin": "power there",
        "class_gate_family_wise_error": "classes",
    }
    print(f"{'scenario':40}", *columns.values(), sep="  ")
    for row in rows:
        print(f"{row['scenario']:40}", *(f"{row[key]:>{len(title)}}" for key, title in columns.items()), sep="  ")


if __name__ == "__main__":
    main()
