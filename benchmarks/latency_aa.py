"""The same export against itself: how often the latency interval holds 1.0, and how wide it is, on a real machine.

    python benchmarks/latency_aa.py EXPORT [--repeats 20] [--seconds 3] [-o FILE]

Two processes run the same artifact, timed in turn as `segexport check` does. The interval should hold 1.0 in about
95 % of the repeats; a run in which the machine drifted counts apart, since the gate does not use it.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from segexport.artifact import read_artifact
from segexport.measure import latency
from segexport.measure.environment import describe_machine
from segexport.measure.latency_statistics import latency_ratio
from segexport.registry import runtime_for
from segexport.runtimes.base import RunOptions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("export", type=Path)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("-o", "--output", type=Path)
    given = parser.parse_args()
    artifact = read_artifact(given.export)
    spec = artifact.manifest.inputs[0]
    shape = [size if size > 0 else default for size, default in zip(spec.shape, (1, 3, 512, 512), strict=True)]
    tensor = np.random.default_rng(0).standard_normal(shape).astype(spec.dtype)
    rows = []
    for _ in range(given.repeats):
        with (
            runtime_for(artifact.manifest.format).open(artifact, RunOptions()) as one,
            runtime_for(artifact.manifest.format).open(artifact, RunOptions()) as other,
        ):
            timings = latency.measure({"a": (one, [tensor]), "b": (other, [tensor])}, given.seconds)
        ratio = latency_ratio(timings["a"].blocks_ms, timings["b"].blocks_ms)
        low, high = ratio.interval
        rows.append(
            {
                "ratio": ratio.value,
                "interval": [low, high],
                "holds": low <= 1 <= high,
                "drift": ratio.drift() is not None,
            }
        )
    steady = [row for row in rows if not row["drift"]]
    result = {
        "export": artifact.manifest.name,
        "repeats": len(rows),
        "drifted": len(rows) - len(steady),
        "holds_1_of_steady": f"{sum(row['holds'] for row in steady)} of {len(steady)}",
        "holds_1_of_all": f"{sum(row['holds'] for row in rows)} of {len(rows)}",
        "median_width": float(np.median([row["interval"][1] - row["interval"][0] for row in rows])),
        "rows": rows,
        "environment": describe_machine(),
    }
    text = json.dumps(result, indent=2)
    print(text)
    if given.output:
        given.output.write_text(text + "\n")


if __name__ == "__main__":
    main()
