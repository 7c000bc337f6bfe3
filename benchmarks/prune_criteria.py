"""Prunes trained networks by every criterion, choice of widths and number of stages; nothing is trained.

    python benchmarks/prune_criteria.py CAMVID NAME=MODEL... [-o results.json] [--keep-macs 0.4]... [--stages 1]...
        [--criteria A,B] [--widths A,B] [--limit 48]

Importance and reconstruction see images of train only. Every row has mIoU and agreement with the original on images of
val, the same for all rows, at the size of the network's output. Rows that the results have are kept; those of
`fisher_redundancy`, the product of both scores, are from a version that had it: it won nowhere but with global widths.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import zlib  # noqa: F401 - before paddle: its bundled copy makes PNG decoding fail in the same process
from itertools import product
from pathlib import Path
from typing import Any, get_args

import numpy as np
import paddle
from stamped import RESULTS, load, save

from segexport.artifact import ModelArtifact
from segexport.compress import losses
from segexport.compress.batches import Augmentation, Batch, Batches
from segexport.compress.live_program import LiveProgram
from segexport.compress.logits import logits_of
from segexport.compress.prune import Criterion, Widths
from segexport.compress.prune_job import PruneOptions
from segexport.compress.prune_stages import Scored, prune_in_stages
from segexport.compress.prune_step import Prune
from segexport.data.dataset import Dataset
from segexport.errors import InputError
from segexport.exporter.from_paddle import ImportOptions, import_model
from segexport.exporter.program import Program, read
from segexport.files.store import Store
from segexport.measure import metrics

RESULT = RESULTS / "prune_criteria.json"
_MIRRORED = Augmentation(flip=0.5, zoom=1, brightness=0, contrast=0)  # as the pruning step has it
_PLAIN = Augmentation(flip=0, zoom=1, brightness=0, contrast=0)


def shown(artifact: ModelArtifact, data: Dataset, count: int, augmentation: Augmentation) -> list[Batch]:
    """Batches of one image, drawn as the pruning step does with seed 0."""
    preprocess = artifact.manifest.preprocess
    drawn = Batches(data.read_for(preprocess), preprocess, size=1, seed=0, augmentation=augmentation)
    return [drawn.at(number) for number in range(min(count, len(drawn.data)))]


def masks_of(program: Program, batches: list[Batch]) -> list[np.ndarray]:
    name, axis = logits_of(program)
    net = LiveProgram(program)
    net.eval()
    found = []
    with paddle.no_grad():
        for batch in batches:
            scores = net.read([paddle.to_tensor(batch.images)], [name])[name]
            scores = scores if axis == 1 else paddle.moveaxis(scores, axis, 1)
            found.append(losses.two_classes(scores).numpy().argmax(1)[0].astype(np.uint8))
    return found


def judged(masks: list[np.ndarray], original: list[np.ndarray], batches: list[Batch], classes: int) -> dict[str, float]:
    pairs = list(zip(masks, batches, strict=True))
    total = sum(metrics.confusion_matrix(batch.labels[0], mask, classes, 255) for mask, batch in pairs)
    agreed = [metrics.agreement(mask, other) for mask, other in zip(masks, original, strict=True)]
    return {"miou": round(metrics.scores(total).miou or 0.0, 4), "agreement": round(float(np.mean(agreed)), 4)}


def settings(given: argparse.Namespace) -> list[dict[str, Any]]:
    """The combinations that the step accepts."""
    found = []
    for stages, criterion, widths, keep in product(given.stages, given.criteria, given.widths, given.keep_macs):
        params = {"criterion": criterion, "widths": widths, "stages": stages, "keep_macs": keep}
        try:
            Prune.Params(**params, reconstruct=True)
        except ValueError:
            continue
        found.append(params)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("camvid", type=Path)
    parser.add_argument("models", nargs="+", help="NAME=PATH")
    parser.add_argument("--keep-macs", type=float, action="append")
    parser.add_argument("--stages", type=int, action="append")
    parser.add_argument("--criteria", type=lambda text: text.split(","), default=list(get_args(Criterion)))
    parser.add_argument("--widths", type=lambda text: text.split(","), default=list(get_args(Widths)))
    parser.add_argument("--images", type=int, default=48, help="of train, that pruning looks at")
    parser.add_argument("--limit", type=int, default=48, help="images of val")
    parser.add_argument("-o", "--output", type=Path, default=RESULT)
    given = parser.parse_args()
    given.keep_macs, given.stages = given.keep_macs or [0.4, 0.46], given.stages or [1, 3]
    found = load(given.output) if given.output.is_file() else {}
    for named in given.models:
        name, path = named.split("=", 1)
        rows = found.setdefault(name, {})
        with tempfile.TemporaryDirectory() as scratch:
            artifact = import_model(Path(path), ImportOptions(), Store(Path(scratch)))
            program = read(artifact.file("model"), artifact.file("params"))
            train, val = (Dataset.open(given.camvid, split) for split in ("train", "val"))
            looked_at = shown(artifact, train, given.images, _MIRRORED)
            judges = shown(artifact, val, given.limit, _PLAIN)
            original = masks_of(program, judges)
            if "original" not in rows:
                rows["original"] = judged(original, original, judges, val.num_classes)
                print(name, "original", rows["original"], flush=True)
            firsts: dict[str, Scored] = {}  # by criterion: the same for all widths, stages and budgets
            for params in settings(given):
                key = " ".join(f"{what}={value}" for what, value in params.items())
                if key in rows:
                    continue
                budgets = {"macs": params["keep_macs"]}
                rest = {what: value for what, value in params.items() if what != "keep_macs"}
                options = PruneOptions(**rest, reconstruct=True, images=given.images)
                started, used = time.monotonic(), time.process_time()
                try:
                    first = firsts.get(options.criterion) or Scored(program, options, looked_at)
                    firsts[options.criterion], first.options = first, options
                    pruned, _ = prune_in_stages(program, options, looked_at, budgets=budgets, first=first)
                except InputError as error:
                    rows[key] = {"error": str(error)}
                else:
                    seconds = {"seconds": time.monotonic() - started, "processor_seconds": time.process_time() - used}
                    rows[key] = {
                        **judged(masks_of(pruned.program, judges), original, judges, val.num_classes),
                        "macs_kept": round(1 - pruned.macs_cut_ratio, 4),
                        "parameters_kept": round(pruned.parameters_after / pruned.parameters_before, 4),
                        **{what: round(value, 1) for what, value in seconds.items()},
                    }
                print(name, key, rows[key], flush=True)
                save(given.output, found)


if __name__ == "__main__":
    main()
