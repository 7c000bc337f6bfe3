"""Measures what more workers gain in `check --on`, and the pieces that the cost of larger checks is computed from.

    python benchmarks/dask_scaling.py simulated                    # 1 to 64 workers whose models sleep
    python benchmarks/dask_scaling.py client                       # the client's memory and merge, by images
    python benchmarks/dask_scaling.py real MODEL EXPORT DATA       # 1, 2, 4 workers, a processor each if possible

Each adds its part to the result. Simulated models take time and no processor, as if each worker had a machine of its
own; decoding, counting and Dask are real, and share this machine. All workers have equally many images, in every row.
The client's merge runs in a process of its own.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import operator
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from stamped import REPOSITORY, RESULTS, save

sys.path += [str(REPOSITORY / "tests" / "unit"), str(REPOSITORY / "tests" / "engine")]

from segexport.artifact import read_artifact
from segexport.check import sharded
from segexport.check.compare import measure
from segexport.check.request import CheckRequest
from segexport.check.sharded import MOST_IMAGES, measure_on
from segexport.data.dataset import Dataset
from segexport.engine.base import EngineTask
from segexport.engine.connect import LOCAL_CONFIG, open_engine
from segexport.exporter.from_paddle import ImportOptions, import_model
from segexport.files.store import Store
from segexport.judge.results import Export, Measurement
from segexport.pipeline import entry_points
from segexport.progress import Bar, silent
from segexport.recipe.schema import CheckRecipe
from segexport.references.live import LiveReference
from segexport.references.merge import merge
from segexport.references.shard import write_part
from segexport.task.semantic.counts import PixelCounts

RESULT = RESULTS / "dask_scaling.json"
SLEEP_S = 1.0  # per image, of reference and export together: long, as the workers share this machine's processors
IMAGES_PER_WORKER = 16
CLUSTERS = {1: (1, 1), 64: (4, 16), 16: (4, 4), 4: (4, 1), 2: (2, 1)}
"""Workers -> processes, threads of each; the others are compared with one."""
EMPTY_TASKS = 100
CLIENT_IMAGES = (1000, 10000)


# -- a check, and the seconds of its parts


class Phases:
    """A Progress that keeps the seconds of each bar."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, title: str, _total: int | None = None) -> Iterator[Bar]:
        start = time.perf_counter()
        with silent(title) as bar:
            yield bar
        self.seconds[title] = time.perf_counter() - start


def request_of(reference: Any, exports: dict[str, Any], data: Dataset, folder: Path, progress: Any) -> CheckRequest:
    """A check without times."""
    options = CheckRecipe(latency_seconds=0.0)
    rows = tuple(
        Export(name, model.manifest.format, model.manifest.target.precision, model) for name, model in exports.items()
    )
    return CheckRequest(LiveReference.of(reference, options), rows, data, folder, options, progress=progress)


def checked(on: str, reference: Any, exports: dict[str, Any], data: Dataset) -> dict[str, float]:
    """Seconds of counting, of merging, and of the whole check; bytes of the parts."""
    phases, parts = Phases(), {"bytes_of_parts": 0.0, "merge_s": 0.0}

    def timed(paths: Any, pictures: Path) -> Any:
        parts["bytes_of_parts"] = float(sum(path.stat().st_size for path in paths))
        start = time.perf_counter()
        found = merge(paths, pictures)
        parts["merge_s"] = time.perf_counter() - start
        return found

    sharded.merge = timed
    try:
        with tempfile.TemporaryDirectory() as folder, open_engine(on) as engine:
            start = time.perf_counter()
            measure_on(engine, request_of(reference, exports, data, Path(folder), phases))
            whole = time.perf_counter() - start
    finally:
        sharded.merge = merge
    return {"counting_s": phases.seconds["checking"], "whole_s": whole, **parts}


def repeated(data: Path, root: Path, images: int) -> Dataset:
    """A data set of `images` images: those of `data`, again and again under other names."""
    source = Dataset.open(data, "val")
    lines = []
    for name in ("images", "labels"):
        (root / name).mkdir(parents=True, exist_ok=True)
    for index in range(images):
        entry = source.entries[index % len(source.entries)]
        line = []
        for kind, path in (("images", entry.image), ("labels", entry.label)):
            assert path is not None
            place = root / kind / f"{index}{Path(path).suffix}"
            if not place.is_symlink():
                place.symlink_to((data / path).resolve())
            line.append(f"{kind}/{place.name}")
        lines.append(" ".join(line))
    (root / "val.txt").write_text("\n".join(lines) + "\n")
    (root / "labels.txt").write_text((data / "labels.txt").read_text())
    return Dataset.open(root, "val")


# -- simulated workers


@contextmanager
def simulation() -> Iterator[Path]:
    """A folder; this process and those that it starts have the runtime that sleeps."""
    import recordings
    import sleepy

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sleepy.install(folder / "plugin")
        _find_plugin(folder)
        own = [str(folder / "plugin"), *(str(REPOSITORY / part) for part in ("src", "tests/unit", "tests/engine"))]
        os.environ["PYTHONPATH"] = os.pathsep.join(own)
        recordings.make_data(folder / "few", 32)
        yield folder


def _find_plugin(folder: Path) -> None:
    sys.path.insert(0, str(folder / "plugin"))
    entry_points.forget()


def sleeping(folder: Path, seconds: float) -> tuple[Any, Any]:
    """Reference and export, which take half of the seconds each."""
    import recordings
    import sleepy

    places = [folder / f"{name}-{seconds}" for name in ("reference", "export")]
    for shift, place in enumerate(places):
        if not place.exists():
            sleepy.write_model(place, recordings.manifest(), sleep_s=seconds / 2, shift=shift)
    reference, export = (read_artifact(place) for place in places)
    return reference, export


@contextmanager
def cluster(processes: int, threads: int) -> Iterator[str]:
    """The address of a cluster on this machine."""
    from dask import config
    from distributed import LocalCluster

    given: dict[str, Any] = {"memory_limit": 0, "dashboard_address": None, "silence_logs": logging.CRITICAL}
    with (
        config.set(LOCAL_CONFIG),
        LocalCluster(n_workers=processes, threads_per_worker=threads, **given) as made,
    ):
        yield made.scheduler_address.replace("tcp://", "dask://")


def overhead_s(on: str) -> float:
    """Seconds of a task that does nothing, with the client, the scheduler and a worker on this machine."""
    with open_engine(on) as engine:
        engine.run([EngineTask(operator.index, (number,)) for number in range(engine.slots)])
        start = time.perf_counter()
        engine.run([EngineTask(operator.index, (number,)) for number in range(EMPTY_TASKS)])
        return (time.perf_counter() - start) / EMPTY_TASKS


def simulated(save_part: Callable[[dict[str, Any]], None]) -> None:
    """Images per second of 1 to 64 workers, and the share of linear; saved after each."""
    rows: dict[str, dict[str, Any]] = {}
    with simulation() as folder:
        reference, export = sleeping(folder, SLEEP_S)
        quick = sleeping(folder, 0.0)
        few = Dataset.open(folder / "few", "val")
        for workers, shape in CLUSTERS.items():
            images = workers * IMAGES_PER_WORKER
            data = repeated(folder / "few", folder / f"data-{workers}", images)
            with cluster(*shape) as on:
                checked(on, quick[0], {"export": quick[1]}, few)  # its imports are done
                found = checked(on, reference, {"export": export}, data)
                overhead = overhead_s(on)
            rate = images / found["counting_s"]
            rows[str(workers)] = {
                "images": images,
                "tasks": len(sharded.runs_of(images, workers)),
                "processes": shape[0],
                "counting_s": round(found["counting_s"], 2),
                "images_per_s": round(rate, 3),
                "share_of_linear": round(rate / rows["1"]["images_per_s"] / workers, 3) if rows else 1.0,
                "share_of_sleep": round(rate * SLEEP_S / workers, 3),
                "whole_check_s": round(found["whole_s"], 2),
                "overhead_per_task_ms": round(1e3 * overhead, 2),
                "load_average": round(os.getloadavg()[0], 1),
            }
            print(workers, rows[str(workers)], flush=True)
            save_part({"sleep_s_per_image": SLEEP_S, "workers": rows})


# -- the client's memory


def client() -> dict[str, Any]:
    """Peak memory and seconds of the merge, by images; the parts are as workers send them, of repeated counts."""
    rows = []
    with simulation() as folder:
        reference, export = sleeping(folder, 0.0)
        data = Dataset.open(folder / "few", "val")
        measured = measure(request_of(reference, {"export": export}, data, folder / "pictures", silent))
        for images in CLIENT_IMAGES:
            place = folder / f"parts-{images}"
            place.mkdir()
            write_parts(place, measured, images)
            command = [sys.executable, __file__, "merge", str(place)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            rows.append({"images": images, **json.loads(done.stdout.splitlines()[-1])})
            print(rows[-1], flush=True)
    first, last = rows[0], rows[-1]
    more = last["images"] - first["images"]
    return {
        "classes": 3,
        "exports": 1,
        "images_of_a_part": MOST_IMAGES,
        "rows": rows,
        "bytes_of_memory_per_image": round((last["peak_mib"] - first["peak_mib"]) * 2**20 / more),
        "bytes_of_counts_per_image": counts_bytes(3),
        "merge_cpu_us_per_image": round(1e6 * (last["merge_cpu_s"] - first["merge_cpu_s"]) / more, 1),
    }


def counts_bytes(classes: int) -> int:
    """Bytes of a model's counts of an image, before a part compresses them: six by class, and two agreements."""
    return 8 * (6 * classes + 2)


def write_parts(folder: Path, measured: Measurement, images: int) -> None:
    """The parts of `images` images, whose counts are those of a few images again and again."""
    firsts = range(0, images, MOST_IMAGES)
    comparison = measured.comparison
    for number, first in enumerate(firsts, 1):
        names = tuple(f"images/{index}.png" for index in range(first, min(first + MOST_IMAGES, images)))
        exports = []
        for entry in measured.exports:
            assert isinstance(entry.counts, PixelCounts)
            exports.append(replace(entry, counts=_longer(entry.counts, len(names)), shown=()))
        assert isinstance(comparison.reference, PixelCounts)
        more = replace(comparison, reference=_longer(comparison.reference, len(names)), names=names)
        dataset = measured.dataset.model_copy(update={"images": images})
        part = replace(measured, comparison=more, exports=exports, dataset=dataset)
        place = folder / str(number)
        write_part(place, part, folder, index=number, count=len(firsts), worst_images=0, first=first)


def _longer(counts: PixelCounts, images: int) -> PixelCounts:
    names = ("class_counts", "boundary", "agreement", "decided_agreement")
    copies = -(-images // counts.images)
    return replace(counts, **{name: (list(getattr(counts, name)) * copies)[:images] for name in names})


def peak_mib() -> float:
    """The peak of this process's memory."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))


def merged(folder: Path) -> dict[str, float]:
    """What `client` asks of a process of its own."""
    paths = sorted(folder.iterdir())
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak of the process that started this one
    before = peak_mib()
    start = time.process_time()  # of one thread; other work on the machine does not count
    found = merge(paths, folder)
    seconds = time.process_time() - start
    assert found.comparison.names
    peak = peak_mib()
    size = sum(path.stat().st_size for path in paths)
    return {
        "before_mib": round(before, 1),
        "peak_mib": round(peak, 1),
        "bytes_of_parts": size,
        "merge_cpu_s": round(seconds, 4),
    }


# -- real models on this machine


def real(model: Path, export: Path, data_root: Path, images: int, rounds: int) -> dict[str, Any]:
    """Images per second of 1, 2 and 4 workers, and the pieces of an image.

    A worker's reference and export run beside each other, so that one worker alone takes more than one processor: each
    row is bound to as many processors as it has workers, as far as the machine has them.
    """
    processors = sorted(os.sched_getaffinity(0))
    rows: dict[int, list[dict[str, float]]] = {1: [], 2: [], 4: []}
    with tempfile.TemporaryDirectory() as scratch:
        data = repeated(data_root, Path(scratch) / "data", images)
        source = import_model(model, ImportOptions(fallback_labels=data.labels), Store())
        made = read_artifact(export)
        for _ in range(rounds):
            for workers, found in rows.items():
                os.sched_setaffinity(0, processors[:workers])
                found.append(checked(f"local:{workers}", source, {"export": made}, data))
                print(workers, found[-1], os.getloadavg()[0], flush=True)
        os.sched_setaffinity(0, processors)
        pieces = pieces_of(source, made, data)
    rates = {workers: images / statistics.median(row["counting_s"] for row in found) for workers, found in rows.items()}
    return {
        "model": model.name,
        "export": str(made.manifest.format),
        "images": images,
        "rounds": rounds,
        "processors": len(processors),
        "workers": {
            str(workers): {
                "processors": min(workers, len(processors)),
                "images_per_s": round(rate, 2),
                "gain": round(rate / rates[1], 3),
                "counting_s": [round(row["counting_s"], 2) for row in rows[workers]],
                "whole_s": [round(row["whole_s"], 2) for row in rows[workers]],
            }
            for workers, rate in rates.items()
        },
        "pieces": {
            **pieces,
            "bytes_of_counts_per_image": round(rows[1][0]["bytes_of_parts"] / images),
            "merge_us_per_image": round(1e6 * statistics.median(row["merge_s"] for row in rows[1]) / images, 1),
        },
    }


def pieces_of(source: Any, export: Any, data: Dataset) -> dict[str, float]:
    """Milliseconds of an image, in one process: decoding, preprocessing, each model, and everything together."""
    entries = data.entries[:101]
    few = data.subset(len(entries))
    start = time.perf_counter()
    for index in range(len(few)):
        few.read(index)
    decode = (time.perf_counter() - start) / len(few)
    phases = Phases()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        measured = measure(request_of(source, {"export": export}, few, Path(folder), phases))
    counts, own = measured.comparison.exports["export"], measured.comparison.reference

    def median(values: list[float]) -> float:
        return round(statistics.median(values), 3) if values else 0.0

    return {
        "decode_ms": round(1e3 * decode, 3),
        "preprocess_ms": round(measured.comparison.preprocess_ms, 3),
        "reference_ms": median(own.inference_ms),
        "export_ms": median(counts.inference_ms),
        "postprocess_ms": median(counts.postprocess_ms),
        "whole_ms": round(1e3 * phases.seconds["checking"] / len(few), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    kinds = parser.add_subparsers(dest="kind", required=True)
    kinds.add_parser("simulated")
    kinds.add_parser("client")
    kinds.add_parser("merge").add_argument("folder", type=Path)
    one = kinds.add_parser("real")
    for name in ("model", "export", "data"):
        one.add_argument(name, type=Path)
    one.add_argument("--images", type=int, default=1000)
    one.add_argument("--rounds", type=int, default=2)
    given = parser.parse_args()
    if given.kind == "merge":
        _find_plugin(given.folder.parent)
        print(json.dumps(merged(given.folder)))
        return

    def save_part(part: dict[str, Any]) -> None:
        before = json.loads(RESULT.read_text())["results"] if RESULT.exists() else {}
        save(RESULT, {**before, given.kind: part})

    if given.kind == "simulated":
        simulated(save_part)
    elif given.kind == "client":
        save_part(client())
    else:
        save_part(real(given.model, given.export, given.data, given.images, given.rounds))


if __name__ == "__main__":
    main()
