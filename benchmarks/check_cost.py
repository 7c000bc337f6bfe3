"""Compares the time of a check with bare loops of the same runtimes, and its memory over the number of images.

    python benchmarks/check_cost.py MODEL DATA [--export DIR] [--images 101] [--memory-images 1000]

Time: the check of one export (decode, preprocess, run reference and export, count, compare) over the sum of two bare
loops over the same preprocessed tensors, one per runtime, each in a plain Python process; the parts alternate, so the
ratio holds on a noisy machine. Memory: peak of the check's own process on 50 images and on many.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from stamped import save

from segexport import preprocess
from segexport.artifact import read_artifact
from segexport.data.dataset import Dataset
from segexport.exporter.from_paddle import ImportOptions, import_model
from segexport.files.store import Store
from segexport.measure.parity import ModelUnderTest, compare
from segexport.pipeline.registry import runtime_for
from segexport.runtimes.base import RunOptions
from segexport.task.base import ScoredClasses
from segexport.task.semantic.scorer import PixelScorer
from segexport.ui.pictures import default_labels

_BARE = {
    "onnx": """
import sys, time, numpy as np, onnxruntime as ort
options = ort.SessionOptions(); options.intra_op_num_threads = 1; options.inter_op_num_threads = 1
session = ort.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
tensors = np.load(sys.argv[3], mmap_mode="r"); name = session.get_inputs()[0].name
session.run(None, {name: np.array(tensors[:1])})
start = time.perf_counter()
for index in range(len(tensors)):
    session.run(None, {name: np.array(tensors[index : index + 1])})
print(time.perf_counter() - start)
""",
    "paddle": """
import sys, time, numpy as np, paddle.inference as inference
config = inference.Config(sys.argv[1], sys.argv[2]); config.disable_glog_info(); config.disable_gpu()
config.set_cpu_math_library_num_threads(1); config.enable_mkldnn()
predictor = inference.create_predictor(config)
tensors = np.load(sys.argv[3], mmap_mode="r"); handle = predictor.get_input_handle(predictor.get_input_names()[0])
output = predictor.get_output_handle(predictor.get_output_names()[0])
def run(x):
    handle.copy_from_cpu(x); predictor.run(); output.copy_to_cpu()
run(np.array(tensors[:1]))
start = time.perf_counter()
for index in range(len(tensors)):
    run(np.array(tensors[index : index + 1]))
print(time.perf_counter() - start)
""",
}


def bare_seconds(artifact, tensors: Path) -> float:
    """Seconds of a plain loop over the tensors, in a separate process."""
    files = [str(artifact.file("model"))]
    files.append(str(artifact.file("params")) if artifact.manifest.format == "paddle" else "-")
    script = _BARE[artifact.manifest.format]
    env = {"OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-c", script, *files, str(tensors)], capture_output=True, text=True, check=True, env=env
    )
    return float(done.stdout.split()[-1])


def check_seconds(reference, export, data: Dataset) -> float:
    """Seconds of the check's pass over the images, with both models loaded."""
    options = RunOptions(threads=1)
    with (
        runtime_for(reference.manifest.format).open(reference, options) as own,
        runtime_for(export.manifest.format).open(export, options) as other,
    ):
        first = ModelUnderTest("reference", own, reference.manifest, reference.manifest.preprocess)
        second = ModelUnderTest("export", other, export.manifest, export.manifest.preprocess)
        labels = default_labels(data.labels) if data.labels else reference.manifest.labels
        scorer = PixelScorer(reference.manifest, data, ScoredClasses(labels, None), 10)
        warm, _ = preprocess.apply(reference.manifest.preprocess, data.read(0).image)
        for session in (own, other):
            for _ in range(3):  # the reference's self-check belongs to loading
                session.infer([warm])
        start = time.perf_counter()
        compare(first, [second], data, scorer)
        return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--export", type=Path, required=True, help="an ONNX export of the model")
    parser.add_argument("--split", default="val")
    parser.add_argument("--images", type=int, default=101)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--input-size", help="WIDTHxHEIGHT, for a model with dynamic height and width")
    parser.add_argument("--memory-images", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        options = ImportOptions.from_strings(input_size=given.input_size)
        reference = import_model(given.model, options, Store(Path(scratch) / "cache"))
        export = read_artifact(given.export)
        data = Dataset.open(given.data, given.split).subset(given.images)
        if data.labels and len(data.labels) != reference.manifest.num_classes:
            data = unlabelled(data, Path(scratch) / "unlabelled")
        if given.memory_images:
            result = memory(reference, export, data, given.memory_images, Path(scratch))
        else:
            result = times(reference, export, data, given.rounds, Path(scratch))
    if given.output:  # first: whoever reads the other end of a pipe may stop
        save(given.output, result)
    print(json.dumps(result, indent=2))


def times(reference, export, data: Dataset, rounds: int, scratch: Path) -> dict:
    tensors = scratch / "tensors.npy"
    np.save(tensors, np.concatenate([preprocess.apply(reference.manifest.preprocess, s.image)[0] for s in data]))
    rows = []
    for _ in range(rounds):
        bare = {
            name: bare_seconds(artifact, tensors) for name, artifact in (("reference", reference), ("export", export))
        }
        rows.append({**bare, "check": check_seconds(reference, export, data)})
    ratios = [row["check"] / (row["reference"] + row["export"]) for row in rows]
    return {
        "images": len(data),
        "seconds": rows,
        "ratio_median": statistics.median(ratios),
        "ratios": ratios,
        "export_ms": statistics.median(row["export"] for row in rows) / len(data) * 1e3,
    }


def memory(reference, export, data: Dataset, many: int, scratch: Path) -> dict:
    """Peak resident memory of the check's process, one process per number of images; workers are not included."""
    found = {}
    for count in (50, many):
        repeated = repeat(data, scratch / f"repeated-{count}", count)
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            found[count] = pool.apply(_peak, (reference, export, repeated))
    return {"peak_rss_bytes": found, "growth_ratio": found[many] / found[50]}


def _peak(reference, export, data: Dataset) -> int:
    check_seconds(reference, export, data)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def repeat(data: Dataset, folder: Path, count: int) -> Dataset:
    """A dataset of `count` images that are links to those of `data`."""
    (folder / "images").mkdir(parents=True)
    lines = []
    for index in range(count):
        entry = data.entries[index % len(data)]
        link = folder / "images" / f"{index:05d}{Path(entry.image).suffix}"
        link.write_bytes((data.root / entry.image).read_bytes())
        line = f"images/{link.name}"
        if entry.label is not None:
            label = folder / "images" / f"{index:05d}.label.png"
            label.write_bytes((data.root / entry.label).read_bytes())
            line += f" images/{label.name}"
        lines.append(line)
    (folder / "val.txt").write_text("\n".join(lines) + "\n")
    if data.labels:
        (folder / "labels.txt").write_text("\n".join(data.labels) + "\n")
    return Dataset.open(folder, "val")


def unlabelled(data: Dataset, folder: Path) -> Dataset:
    """The images without labels, if model and data have different class names."""
    folder.mkdir()
    for entry in data.entries:
        (folder / Path(entry.image).name).write_bytes((data.root / entry.image).read_bytes())
    return Dataset.open(folder)


if __name__ == "__main__":
    main()
