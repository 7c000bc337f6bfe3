"""Times the paired bootstrap: 2000 resamples over 500 images x 19 classes; the goal is under 1 s on one core.

OMP_NUM_THREADS=1 python benchmarks/bootstrap_speed.py
"""

from __future__ import annotations

import argparse
import platform
import time
from pathlib import Path

import numpy as np
from stamped import save

from segexport.judge.bootstrap import paired_delta
from segexport.measure.boundary import boundary_counts
from segexport.measure.metrics import class_counts, confusion_matrix

RESULT = Path(__file__).parent / "results" / "bootstrap_speed.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--classes", type=int, default=19)
    parser.add_argument("--resamples", type=int, default=2000)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    reference = rng.integers(0, 200, (options.images, options.classes, options.classes))
    index = np.arange(options.classes)
    reference[:, index, index] += 5000
    export = reference.copy()
    moved = rng.integers(0, 100, (options.images, options.classes))
    export[:, index, index] -= moved
    export[:, index, (index + 1) % options.classes] += moved
    counts = class_counts(reference), class_counts(export)

    figures = {"paired_delta_s": best_s(lambda: paired_delta(*counts, resamples=options.resamples), 5)}
    for height, width in ((360, 480), (1024, 2048)):
        truth = rng.integers(0, options.classes, (height // 20, width // 20)).astype(np.uint8)
        truth = np.ascontiguousarray(truth.repeat(20, 0).repeat(20, 1))
        prediction = np.roll(truth, 2, 1)
        size = f"{width}x{height}"
        figures[f"confusion_matrix_{size}_ms"] = 1e3 * best_s(
            lambda t=truth, p=prediction: confusion_matrix(t, p, options.classes), 20
        )
        figures[f"boundary_counts_{size}_ms"] = 1e3 * best_s(
            lambda t=truth, p=prediction: boundary_counts(t, p, options.classes), 20
        )
    result = {
        **vars(options),
        **{name: round(value, 4) for name, value in figures.items()},
    }
    save(RESULT, result)
    for name, value in result.items():
        print(f"{name:34} {value}")


def best_s(call, repeats: int) -> float:
    """The time of the fastest run, which other work on the machine affects least."""
    call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def cpu_name() -> str:
    """The processor's name, if the system reports it."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
