"""Times an export against itself: how often the latency interval contains 1.0, and how wide it is.

    python benchmarks/latency_aa.py EXPORT [--other EXPORT] [--slower 1.1] [--busy 4] [--repeats 40] [--seconds 3]
        [-o FILE]

EXPORT is copied, so that there are two artifacts, and both are timed as in `segexport check`. The interval should
contain 1.0 in about 95 % of the repeats; measurements with drift are counted separately, because the gate does not use
them. OTHER is a slightly slower export (the same model for an image that is a tenth larger): how often is the interval
entirely above 1.0? `--slower 1.1` simulates a slow runtime instead: the times of the copy are multiplied. `--busy 4`
starts four processes that keep the processors busy.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from stamped import save

from segexport.artifact import ModelArtifact, read_artifact
from segexport.judge.cost_gates import latency_check
from segexport.measure import latency
from segexport.measure.latency_statistics import latency_ratio
from segexport.measure.noise import noise
from segexport.pipeline.registry import runtime_for
from segexport.recipe.limits import Limits
from segexport.runtimes.base import RunOptions, Session

LIMIT = 1.05  # limit of the gate, if times were gated


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("export", type=Path)
    parser.add_argument("--repeats", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--slower", type=float, default=0.0)
    parser.add_argument("--busy", type=int, default=0)
    parser.add_argument("--other", type=Path)
    parser.add_argument("-o", "--output", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        copy = Path(scratch) / "copy"
        shutil.copytree(given.export, copy)
        pair = read_artifact(given.export), read_artifact(copy)
        other = read_artifact(given.other) if given.other else None
        rows: dict[str, list[dict]] = {"against_itself": [], "other_against_it": [], "slower_against_it": []}
        spinning = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(given.busy)]
        stack.callback(lambda: [process.kill() for process in spinning])
        for _ in range(given.repeats):
            rows["against_itself"].append(compared(program(pair[1]), program(pair[0]), given.seconds))
            if other is not None:
                rows["other_against_it"].append(compared(program(other), program(pair[0]), given.seconds))
            if given.slower:
                planted = program(pair[1], given.slower)
                rows["slower_against_it"].append(compared(planted, program(pair[0]), given.seconds))
            result = {
                "export": pair[0].manifest.name,
                "precision": pair[0].manifest.target.precision.value,
                "format": pair[0].manifest.format,
                "seconds": given.seconds,
                "busy_processes": given.busy,
                "slower": given.slower,
                "load_average": [round(load, 1) for load in os.getloadavg()],
                **{name: judged(found) for name, found in rows.items() if found},
            }
            if given.output:  # after each repeat, so that an interrupted run keeps its results
                save(given.output, result)
    print(json.dumps(result, indent=2))


def compared(one: latency.TimedModel, two: latency.TimedModel, seconds: float) -> dict:
    """One measurement of both, as in the check."""
    start = time.perf_counter()
    found = latency.measure_steadily({"b": two, "a": one}, seconds)
    ratio = latency_ratio(found["a"].sessions_ms, found["b"].sessions_ms)
    gate = latency_check(ratio, Limits(latency_ratio_max=LIMIT), against="itself")
    return {
        "ratio": ratio.value,
        "interval": ratio.interval,
        "sessions": ratio.sessions,
        "drift": ratio.drift() is not None,
        "gate": gate.verdict.value,
        "measured_s": time.perf_counter() - start,
        "median_ms": float(np.median(found["a"].samples_ms)),
        "cold_start_ms": found["a"].load_ms + found["a"].first_ms,
    }


def program(artifact: ModelArtifact, slower: float = 1.0) -> latency.TimedModel:
    """An export with noise as its image; `slower` multiplies its times."""

    def opened() -> Session:
        session = runtime_for(artifact.manifest.format).open(artifact, RunOptions())
        bench = session.bench
        session.bench = lambda tensors, runs: slower * bench(tensors, runs)
        return session

    return latency.TimedModel(opened, noise(artifact))


def judged(rows: list[dict]) -> dict:
    """Summarizes many measurements of the ratio of two programs."""
    steady = [row for row in rows if not row["drift"]]
    lows, highs = ([row["interval"][end] for row in steady] for end in (0, 1))
    return {
        "repeats": len(rows),
        f"gate_of_{LIMIT:g}": dict(Counter(row["gate"] for row in rows)),
        "drifted": len(rows) - len(steady),
        "below_1": sum(high < 1 for high in highs),
        "holds_1": sum(low <= 1 <= high for low, high in zip(lows, highs, strict=True)),
        "above_1": sum(low > 1 for low in lows),
        "holds_1_of_all": sum(row["interval"][0] <= 1 <= row["interval"][1] for row in rows),
        "median_ratio": float(np.median([row["ratio"] for row in rows])),
        "median_width": float(np.median(np.subtract(highs, lows))) if steady else None,
        "rows": rows,
    }


if __name__ == "__main__":
    main()
