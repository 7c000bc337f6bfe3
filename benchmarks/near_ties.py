"""Why the same error changes more classes in one network than in another: how close the two best scores are.

    python benchmarks/near_ties.py CAMVID FP32 INT8 [FP32 INT8]... [--limit 24] [-o results.json]

FP32 and INT8 are a network's exports to ONNX that output scores. On images of CamVid val: `near_ties`, the share of
pixels whose two best scores differ by less than 1 % of the scores' standard deviation; `error`, the root mean square
error of int8's scores, in standard deviations; `changed`, the share of pixels with another class.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from stamped import save

from segexport.artifact import read_artifact
from segexport.data.dataset import Dataset
from segexport.exporter.onnx_quantize import fed
from segexport.exporter.same_as_source import outputs_of
from segexport.pipeline.step import StepContext
from segexport.runtimes.ort import OnnxRuntime

_CLOSE = 0.01  # standard deviations


def measured(fp32: Path, int8: Path, images: Dataset) -> dict[str, float]:
    exports = [read_artifact(path) for path in (fp32, int8)]
    feeds = [tensors for _, tensors in fed(images.read_for(exports[0].manifest.preprocess), exports[0])]
    floats, others = (
        np.stack([outputs[0] for outputs in outputs_of(one, OnnxRuntime(), feeds, StepContext())]) for one in exports
    )
    classes = 2  # image, batch, class, ...
    spread = float(floats.std())
    best = np.sort(floats, axis=classes)
    margins = best.take(-1, classes) - best.take(-2, classes)
    return {
        "near_ties": round(float(np.mean(margins < _CLOSE * spread)), 4),
        "median_margin": round(float(np.median(margins)) / spread, 3),
        "error": round(float(np.sqrt(np.mean(np.square(others - floats)))) / spread, 4),
        "changed": round(float(np.mean(floats.argmax(classes) != others.argmax(classes))), 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("camvid", type=Path)
    parser.add_argument("exports", type=Path, nargs="+")
    parser.add_argument("--limit", type=int, default=24, help="images of the val split")
    parser.add_argument("-o", "--output", type=Path)
    given = parser.parse_args()
    images = Dataset.open(given.camvid, "val").subset(given.limit, 0)
    found = {}
    for fp32, int8 in zip(given.exports[::2], given.exports[1::2], strict=True):
        found[int8.name] = measured(fp32, int8, images)
        print(int8.name, json.dumps(found[int8.name]), flush=True)
    if given.output:
        save(given.output, found)


if __name__ == "__main__":
    main()
