"""Checks an unchanged export repeatedly on a busy machine, and counts false failures.

    python benchmarks/busy_checks.py MODEL DATA [--repeats 20] [--busy 4] [-o FILE]

MODEL is exported to ONNX and checked once; its report is the baseline. Then processes keep all processors busy while
the same export is checked REPEATS times with `--baseline` and default options. An exit code other than 0 is a failure.
The reference is recorded, so that a check runs only the export.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from stamped import save


def segexport(*arguments: object) -> int:
    done = subprocess.run([sys.executable, "-m", "segexport", *map(str, arguments)], capture_output=True, text=True)
    if done.returncode not in (0, 1):
        raise SystemExit(done.stderr)
    return done.returncode


def row(folder: Path, code: int) -> dict[str, Any]:
    report = json.loads((folder / "report.json").read_text())
    (export,) = report["exports"]
    said = [check["message"] for check in export["checks"] if check["name"] == "baseline.latency"]
    return {
        "exit": code,
        "verdict": export["verdict"],
        "latency_ms": export["latency_ms"],
        "load_average": round(os.getloadavg()[0], 1),
        "of_the_baseline": said[0] if said else "",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--busy", type=int, default=4)
    parser.add_argument("--limit", type=int, default=20, help="Images of each check.")
    parser.add_argument("-o", "--output", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        export, reference = Path(scratch) / "export", Path(scratch) / "reference.segref"
        segexport("export", given.model, "--to", "onnx", "-o", export)
        data = ("--data", given.data, "--limit", given.limit)
        segexport("reference", "record", given.model, *data, "--latency-seconds", 0, "-o", reference)
        check = ("check", export, "--reference", reference, *data)
        first = Path(scratch) / "first"
        rows = {"before": [row(first, segexport(*check, "-o", first))], "busy": []}
        baseline = ("--baseline", first / "report.json")
        spinning = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(given.busy)]
        try:
            for number in range(given.repeats):
                folder = Path(scratch) / str(number)
                rows["busy"].append(row(folder, segexport(*check, *baseline, "-o", folder)))
                print(json.dumps(rows["busy"][-1]), flush=True)
        finally:
            for process in spinning:
                process.kill()
    result = {
        "busy_processes": given.busy,
        "exit_codes": dict(Counter(str(one["exit"]) for one in rows["busy"])),
        "verdicts": dict(Counter(one["verdict"] for one in rows["busy"])),
        **rows,
    }
    if given.output:
        save(given.output, result)
    else:
        print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
