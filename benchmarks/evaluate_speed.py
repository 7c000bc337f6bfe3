"""Compares the speed of `evaluate` with the bare runtime's, and its memory over the number of images.

    python benchmarks/evaluate_speed.py ONNX_ARTIFACT DATA [-o benchmarks/results/evaluate_speed.json]

Compares three programs, measured in turns. The bare loop is ONNX Runtime alone: one thread, tensors in memory, outputs
not used. The sequential loop decodes, resizes, normalizes, runs and takes the argmax. `evaluate` decodes, preprocesses,
runs, restores masks to the images' size and counts.

Wall time is meaningful only on a quiet machine, so processor time is recorded too: with two free cores, the busier of
`evaluate`'s two processes sets its speed, and `ratio_to_bare_by_processor_time` is the speed that this allows.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

from stamped import save

from segexport import preprocess
from segexport.artifact import read_artifact
from segexport.data.dataset import Dataset
from segexport.predict.model import Model


def bare_session(path: Path):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def processor_s(pid: int) -> float:
    """Seconds of processor time that a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def speeds(artifact_path: Path, data: Dataset, rounds: int) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Images per second of each program in every round; processor milliseconds per image."""
    artifact = read_artifact(artifact_path)
    contract, name = artifact.manifest.preprocess, artifact.manifest.inputs[0].name
    session = bare_session(artifact.file("model"))
    tensors = [preprocess.apply(contract, sample.image)[0] for sample in data]

    def bare() -> None:
        for tensor in tensors:
            session.run(None, {name: tensor})

    def plain_loop() -> None:
        for index in range(len(data)):
            tensor, _ = preprocess.apply(contract, data.read(index).image)
            session.run(None, {name: tensor})[0].argmax(axis=1)

    found: dict[str, list[float]] = {"bare": [], "plain_loop": [], "evaluate": []}
    spent = dict.fromkeys(("bare", "evaluate_own", "evaluate_worker"), 0.0)
    with Model(artifact) as model:
        ways = {"bare": bare, "plain_loop": plain_loop, "evaluate": lambda: model.evaluate(data)}
        for run in ways.values():
            run()
        for number in range(rounds):
            for way in ways if number % 2 == 0 else reversed(ways):
                own, worker = time.process_time(), processor_s(model.pid)
                start = time.perf_counter()
                ways[way]()
                found[way].append(len(data) / (time.perf_counter() - start))
                if way == "evaluate":
                    spent["evaluate_worker"] += processor_s(model.pid) - worker
                if way != "plain_loop":
                    spent["bare" if way == "bare" else "evaluate_own"] += time.process_time() - own
    return found, {name: seconds * 1e3 / rounds / len(data) for name, seconds in spent.items()}


def memory(artifact_path: Path, data: Dataset, images: int) -> dict[str, int]:
    """Peak memory of `evaluate` over so many images, the data set repeated: this process, and the model's."""
    many = replace(data, entries=(data.entries * (images // len(data) + 1))[:images])
    with Model(read_artifact(artifact_path)) as model:
        model.evaluate(many)
        worker = model.peak_rss_bytes()
    # Not getrusage: its peak is inherited from the process that started this one.
    own = int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) * 1024
    return {
        "images": images,
        "own_bytes": own,
        "worker_bytes": worker,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("artifact", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--memory-of", type=int, help=argparse.SUPPRESS)  # in a separate process
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    data = Dataset.open(arguments.data, "val")
    if arguments.memory_of:
        print(json.dumps(memory(arguments.artifact, data, arguments.memory_of)))
        return
    found, spent = speeds(arguments.artifact, data, arguments.rounds)
    median = {way: statistics.median(values) for way, values in found.items()}
    command = [sys.executable, __file__, str(arguments.artifact), str(arguments.data), "--memory-of"]
    peaks = [json.loads(subprocess.check_output([*command, str(images)])) for images in (50, 1000)]
    best = {way: max(values) for way, values in found.items()}
    ratios = [own / bare for own, bare in zip(found["evaluate"], found["bare"], strict=True)]
    result = {
        "images": len(data),
        "rounds": arguments.rounds,
        "images_per_second": {way: round(value, 1) for way, value in median.items()},
        "ratio_to_bare": round(statistics.median(ratios), 3),
        # of the fastest round of each program, which other load affects least
        "images_per_second_at_best": {way: round(value, 1) for way, value in best.items()},
        "ratio_to_bare_at_best": round(best["evaluate"] / best["bare"], 3),
        "processor_ms_per_image": {name: round(value, 2) for name, value in spent.items()},
        "ratio_to_bare_by_processor_time": round(
            spent["bare"] / max(spent["evaluate_own"], spent["evaluate_worker"]), 3
        ),
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "ratio_to_bare_of_each_round": [round(ratio, 3) for ratio in sorted(ratios)],
        "ratio_to_plain_loop": round(median["evaluate"] / median["plain_loop"], 3),
        "target": 0.85,
        "peak_memory": peaks,
        "memory_growth_ratio": {
            name: round(peaks[1][name] / peaks[0][name], 3) for name in ("own_bytes", "worker_bytes")
        },
    }
    if arguments.output:
        save(arguments.output, result)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
