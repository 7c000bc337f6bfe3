"""Measures a recorded reference's size per image, and a check's time with it and with the model itself.

OMP_NUM_THREADS=1 python benchmarks/reference_size.py MODEL IMAGES --input-size 1024x512 --limit 24

MODEL is a PaddleSeg export (with scores, not classes, for the largest file); IMAGES a folder of pictures.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import zipfile
from collections import Counter
from pathlib import Path

from stamped import save

from segexport.check.compare import check
from segexport.check.request import CheckRequest
from segexport.data.dataset import Dataset
from segexport.exporter.from_paddle import ImportOptions, import_model
from segexport.exporter.targets.onnx import OnnxExport
from segexport.files.store import Store
from segexport.judge.results import Export
from segexport.pipeline.plan import PlanRunner, planned, steps_of
from segexport.pipeline.step import StepContext
from segexport.recipe.schema import CheckRecipe
from segexport.references.archive import HEADER
from segexport.references.live import LiveReference
from segexport.references.reference import record
from segexport.spec import Format

RESULT = Path(__file__).parent / "results" / "reference_size.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--split", default="val")
    parser.add_argument("--input-size", default="1024x512")
    parser.add_argument("--limit", type=int, default=24)
    parser.add_argument("--repeats", type=int, default=3, help="Checks of each kind, in turn; the fastest counts.")
    options = parser.parse_args()
    store = Store()
    data = Dataset.open(options.images, options.split).subset(options.limit)
    source = import_model(options.model, ImportOptions.from_strings(options.input_size), store)
    chain = planned(steps_of(OnnxExport(to=Format.ONNX)), source)
    artifact = PlanRunner(store, StepContext()).build("onnx-fp32", source, chain)
    export = Export("onnx-fp32", artifact.manifest.format, artifact.manifest.target.precision, artifact)
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "model.ref"
        start = time.perf_counter()
        recording = record(source, data, path, latency_seconds=0)
        recorded_s = time.perf_counter() - start
        figures = {
            "model": options.model.name,
            "input": options.input_size,
            "images": len(data),
            "classes": source.manifest.num_classes,
            "record_s": round(recorded_s, 1),
            "bytes_per_image": round(path.stat().st_size / len(data)),
            "parts_bytes_per_image": sizes(path, len(data)),
            "largest_image_bytes": largest(path),
        }
        times: dict[str, list[float]] = {"recorded": [], "model": []}
        for _ in range(options.repeats):
            for name, reference in (("model", LiveReference(source)), ("recorded", recording.as_reference())):
                start = time.perf_counter()
                request = CheckRequest(reference, (export,), data, Path(scratch), CheckRecipe(latency_seconds=0))
                report = check(request)
                times[name].append(time.perf_counter() - start)
        figures["check_with_model_s"] = round(min(times["model"]), 2)
        figures["check_with_recording_s"] = round(min(times["recorded"]), 2)
        figures["verdict"] = report.verdict.value
    save(RESULT, {"figures": figures})
    print(json.dumps(figures, indent=1))


def sizes(path: Path, images: int) -> dict[str, int]:
    """Compressed bytes per image, by kind of member."""
    found: Counter[str] = Counter()
    with zipfile.ZipFile(path) as file:
        for entry in file.infolist():
            found["header" if entry.filename == HEADER else entry.filename.rpartition("/")[2]] += entry.compress_size
    return {name: round(size / images) for name, size in found.most_common()}


def largest(path: Path) -> int:
    """Compressed size of the largest image's members, in bytes."""
    found: Counter[str] = Counter()
    with zipfile.ZipFile(path) as file:
        for entry in file.infolist():
            if entry.filename != HEADER:
                found[entry.filename.rpartition("/")[0]] += entry.compress_size
    return max(found.values())


if __name__ == "__main__":
    main()
