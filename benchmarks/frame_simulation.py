"""Simulates how often the mIoU gate passes an export that loses its margin, if images are frames of videos.

Two populations: CamVid val (101 frames of one drive, 6.7 seconds) and CamVid train (367 frames of three drives, one per
second), with camvid_small's masks; so the true delta is known. Exports that lose exactly the margin are mixed from a
sound export and a broken one, tile by tile; those that lose nothing are the real int8 and fp16. Frames are drawn

- as a `window`: consecutive frames, like a test set of one video. The groups are the drives, by their names;
- as `clips`: short videos at random places, like a test set of several videos. Each clip is a group;
- as a window cut into `runs`, each of which is a group, as a tool would do that splits one long video.

Every set is judged twice: as independent images, and by groups. False passes at the margin should stay at 5 % or less.

    python benchmarks/frame_simulation.py --model ../shared/models/camvid_small --camvid CAMVID --work WORK

`--work` is the folder of `gate_simulation.py`.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from damaged_masks import CLASSES, Scenario, counts_of, masks_of, mixed, versions
from stamped import RESULTS, save

from segexport.data.groups import names_without_counter
from segexport.judge.bootstrap import PairedDelta, paired_delta
from segexport.judge.gates import boundary_check, class_check, miou_check
from segexport.measure.boundary import boundary_counts
from segexport.recipe.limits import Limits, limits_for
from segexport.spec import Precision
from segexport.verdict import Verdict, overall

POPULATIONS = {"one drive": "val", "three drives": "train"}
SCENARIOS = (
    Scenario("int8, 4-bit weights in places", "int8", "weights_4_bit", 0.01),
    Scenario("fp32, 3-bit weights in places", "reference", "weights_3_bit", 0.01),
    Scenario("int8, 5-bit weights in places", "int8", "weights_5_bit", 0.005),
)
BENIGN = {"int8": Precision.INT8, "fp16": Precision.FP16}
BENIGN_DRAWS = 100
WINDOWS = (14, 25, 50, 100)
CLIPS = ((5, 5), (10, 5), (14, 3), (25, 2), (14, 5), (20, 5), (30, 5), (14, 10))  # clips, frames per clip
RUNS = ((100, 5), (100, 10), (200, 10), (200, 20))  # frames, frames per run


@dataclass(frozen=True)
class Draw:
    """Frames of a population, and the group of each."""

    frames: np.ndarray
    groups: tuple[str, ...]


def window(drives: list[str], frames: int, rng: np.random.Generator, run: int | None = None) -> Draw:
    """Draws consecutive frames; the list is a ring, so that all frames are equally likely."""
    chosen = (rng.integers(len(drives)) + np.arange(frames)) % len(drives)
    if run is not None:
        return Draw(chosen, tuple(str(place // run) for place in range(frames)))
    return Draw(chosen, tuple(drives[frame] for frame in chosen))


def clips(drives: list[str], number: int, frames: int, rng: np.random.Generator) -> Draw:
    """Draws short videos."""
    starts = rng.integers(len(drives), size=number)
    chosen = (starts[:, None] + np.arange(frames)) % len(drives)
    return Draw(chosen.reshape(-1), tuple(str(clip) for clip in range(number) for _ in range(frames)))


def plans(drives: list[str]) -> Iterator[tuple[dict[str, object], object]]:
    """Yields each way of drawing: its columns of the table, and the function that draws from a random generator."""
    for frames in WINDOWS:
        yield {"draw": "window", "images": frames}, lambda rng, n=frames: window(drives, n, rng)
    for number, frames in CLIPS:
        columns = {"draw": "clips", "images": number * frames, "groups": number}
        yield columns, lambda rng, n=number, m=frames: clips(drives, n, m, rng)
    for frames, run in RUNS:
        if frames < len(drives):
            columns = {"draw": "runs", "images": frames, "groups": frames // run}
            yield columns, lambda rng, n=frames, m=run: window(drives, n, rng, m)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, help="folder of camvid_small")
    parser.add_argument("--camvid", type=Path, required=True, help="CamVid in PaddleSeg's form")
    parser.add_argument("--work", type=Path, required=True, help="masks and intermediate models are kept here")
    parser.add_argument("--repeats", type=int, default=400)
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("-o", "--output", type=Path, default=RESULTS / "frame_simulation.json")
    options = parser.parse_args()
    start, rows = time.perf_counter(), []
    for population, split in POPULATIONS.items():
        masks = masks_of(split, options.model, options.camvid, options.work)
        lines = (options.camvid / f"{split}.txt").read_text().splitlines()
        drives = names_without_counter([line.split()[0] for line in lines])
        for row in chain(at_the_margin(masks, drives, options), benign(masks, drives, options)):
            rows.append({"population": population, **row})
            print(f"{time.perf_counter() - start:6.0f} s: {rows[-1]}", file=sys.stderr)
    what = "rates in % of sets of frames; a false pass is of an export that loses exactly the margin"
    result = {"what": what, "repeats": options.repeats, "resamples": options.resamples}
    save(options.output, {**result, "versions_of_the_model_run": versions(options.work), "rows": rows})
    for row in rows:
        print(*(f"{key}={value}" for key, value in row.items()))


def at_the_margin(masks: dict[str, np.ndarray], drives: list[str], options: argparse.Namespace) -> Iterator[dict]:
    """Yields one row per damage and draw."""
    reference = counts_of(masks["reference"], masks["truth"])
    for scenario in SCENARIOS:
        export = mixed(scenario, masks, reference, scenario.margin)
        true = paired_delta(reference, export, resamples=2).delta
        if abs(true + scenario.margin) > 0.05 * scenario.margin:
            continue  # the broken export is not worse here, so no mixture loses the margin
        limits = Limits(miou_margin=-true)
        for columns, draw in plans(drives):
            rng = np.random.default_rng(columns["images"])
            found = {"images": [], "groups": []}
            alarms = inside = 0
            for seed in range(options.repeats):
                drawn = draw(rng)
                for unit, groups in (("images", None), ("groups", drawn.groups)):
                    delta = paired_delta(
                        reference[drawn.frames],
                        export[drawn.frames],
                        groups=groups,
                        resamples=options.resamples,
                        seed=seed,
                    )
                    found[unit].append(miou_check(delta, limits, agreement=0.0).verdict)
                    alarms += unit == "images" and delta.neighbours_alike
                inside += delta.interval is not None and delta.interval[0] >= true
            yield {
                "export": scenario.name,
                "margin": scenario.margin,
                **columns,
                "false_pass_by_images": rate(found["images"], Verdict.PASS),
                "false_pass_by_groups": rate(found["groups"], Verdict.PASS),
                "undecided_by_groups": rate(found["groups"], Verdict.INCONCLUSIVE),
                "interval_of_groups_inside": round(100 * inside / options.repeats, 1),
                "alarm": round(100 * alarms / options.repeats, 1),
            }


def benign(masks: dict[str, np.ndarray], drives: list[str], options: argparse.Namespace) -> Iterator[dict]:
    """Yields rows of sound exports with the limits of their precision: mIoU, classes and boundaries together."""
    truth = masks["truth"]
    areas, edges = ({name: of(masks[name], truth) for name in ("reference", *BENIGN)} for of in (counts_of, edges_of))
    for name, precision in BENIGN.items():
        same = (masks[name] == masks["reference"]).mean((1, 2))
        for columns, draw in plans(drives):
            if columns["draw"] == "runs":
                continue
            rng = np.random.default_rng(columns["images"])
            found = []
            for seed in range(BENIGN_DRAWS):
                drawn = draw(rng)
                deltas = [
                    paired_delta(
                        counts["reference"][drawn.frames],
                        counts[name][drawn.frames],
                        groups=drawn.groups,
                        resamples=options.resamples,
                        seed=seed,
                    )
                    for counts in (areas, edges)
                ]
                found.append(judged(*deltas, limits_for(precision), float(same[drawn.frames].mean())))
            yield {
                "export": name,
                **columns,
                "pass_by_groups": rate(found, Verdict.PASS),
                "undecided_by_groups": rate(found, Verdict.INCONCLUSIVE),
            }


def judged(area: PairedDelta, edge: PairedDelta, limits: Limits, agreement: float) -> Verdict:
    checks = (
        miou_check(area, limits, agreement=agreement),
        class_check(area, limits),
        boundary_check(edge, limits, agreement=agreement),
    )
    return overall(check.verdict for check in checks if check.gated)


def edges_of(masks: np.ndarray, truth: np.ndarray) -> np.ndarray:
    return np.stack([boundary_counts(t, m, CLASSES) for t, m in zip(truth, masks, strict=True)])


def rate(verdicts: list[Verdict], of: Verdict) -> float:
    return round(100 * verdicts.count(of) / len(verdicts), 1)


if __name__ == "__main__":
    main()
