"""Compares the times of an older version and this one, command by command: demo, check, predict, compress.

    python benchmarks/speedup.py BEFORE MODELS CAMVID [--only predict,check,demo,compress] [--runs 5] [--minutes 15]
        [-o results.json]

BEFORE is a checkout of the older version. The versions take turns, so a machine that gets slower slows both, and
ratios are taken pair by pair. `wall` is from start to exit, `processor` is of the process and of all that it waited
for. `predict` is of one image, beside a script of ten lines for ONNX Runtime; `check` is of
all 101 frames of val with an fp32 and an int8 export. `compress` runs both versions at the same time, once: ESPNet at
512x1024, `--minutes` for each.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from stamped import REPOSITORY, load, save

TEN_LINES = """
import sys, cv2, numpy as np, onnxruntime as ort
image = cv2.cvtColor(cv2.imread(sys.argv[2]), cv2.COLOR_BGR2RGB)
tensor = (cv2.resize(image, (256, 192)).astype(np.float32) / 255 - 0.5) / 0.5
options = ort.SessionOptions()
options.intra_op_num_threads = 1
session = ort.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
logits = session.run(None, {session.get_inputs()[0].name: tensor.transpose(2, 0, 1)[None]})[0]
mask = logits.argmax(1)[0].astype(np.uint8)
cv2.imwrite(sys.argv[3], cv2.resize(mask, image.shape[1::-1], interpolation=cv2.INTER_NEAREST))
"""


class Spent(NamedTuple):
    wall_s: float
    processor_s: float


class Version:
    """A checkout with a separate cache."""

    def __init__(self, name: str, root: Path, scratch: Path) -> None:
        self.name, self.root = name, root
        self.folder = scratch / name
        self.folder.mkdir()
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(root / "src"),
            "SEGEXPORT_CACHE": str(self.folder / "cache"),
        }

    def command(self, *arguments: object) -> list[str]:
        return [sys.executable, "-m", "segexport", *map(str, arguments)]

    def run(self, *arguments: object) -> Spent:
        return spent(self.command(*arguments), self.environment)


def spent(command: list[str], environment: dict[str, str] | None = None) -> Spent:
    """Times a command; exit codes other than those of verdicts are errors."""
    start = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall_s = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1):
        raise SystemExit(f"{' '.join(command)}: exit {process.returncode}\n{said.decode()[-2000:]}")
    return Spent(wall_s, usage.ru_utime + usage.ru_stime)


def in_turn(ways: dict[str, Callable[[], Spent]], runs: int) -> dict[str, Any]:
    """Medians, and medians of the paired ratios, after one warm-up run of each."""
    for way in ways.values():
        way()
    found: dict[str, list[Spent]] = {name: [] for name in ways}
    for number in range(runs):
        names = list(ways) if number % 2 == 0 else list(reversed(ways))
        for name in names:
            found[name].append(ways[name]())
    result: dict[str, Any] = {
        name: {
            "wall_s": round(statistics.median(one.wall_s for one in each), 2),
            "processor_s": round(statistics.median(one.processor_s for one in each), 2),
        }
        for name, each in found.items()
    }
    base, *others = found
    for other in others:
        pairs = list(zip(found[other], found[base], strict=True))
        result[f"{other} / {base}"] = {
            "wall": round(statistics.median(a.wall_s / b.wall_s for a, b in pairs), 2),
            "processor": round(statistics.median(a.processor_s / b.processor_s for a, b in pairs), 2),
        }
    return {"runs": runs, **result}


def predict(versions: list[Version], models: Path, camvid: Path, runs: int) -> dict[str, Any]:
    image = next(camvid / line.split()[0] for line in (camvid / "val.txt").read_text().splitlines())
    ways: dict[str, Callable[[], Spent]] = {}
    for version in versions:
        export = version.folder / "onnx"
        version.run("export", models / "camvid_small", "--to", "onnx", "-o", export)
        ways[version.name] = lambda one=version, export=export: one.run(
            "predict", export, image, "-o", one.folder / "p"
        )
    script = [
        sys.executable,
        "-c",
        TEN_LINES,
        str(export / "model.onnx"),
        str(image),
        str(versions[0].folder / "m.png"),
    ]
    return in_turn({"ten lines": lambda: spent(script), **ways}, runs)


def check(versions: list[Version], models: Path, camvid: Path, runs: int) -> dict[str, Any]:
    ways = {}
    for version in versions:
        exports = [version.folder / precision for precision in ("fp32", "int8")]
        for export in exports:
            more = () if export.name == "fp32" else ("--calibration", camvid)
            version.run(
                "export", models / "camvid_small", "--to", "onnx", "--precision", export.name, *more, "-o", export
            )
        arguments = ("check", *exports, "--reference", models / "camvid_small", "--data", camvid, "-o")
        ways[version.name] = lambda one=version, given=arguments: one.run(*given, one.folder / "report")
    return in_turn(ways, runs)


def demo(versions: list[Version], _models: Path, _camvid: Path, runs: int) -> dict[str, Any]:
    def cold(version: Version) -> Spent:
        with tempfile.TemporaryDirectory() as cache:
            environment = {**version.environment, "SEGEXPORT_CACHE": cache}
            return spent(version.command("demo", "-o", Path(cache) / "out"), environment)

    return in_turn({version.name: lambda one=version: cold(one) for version in versions}, runs)


def compress(versions: list[Version], models: Path, camvid: Path, minutes: float) -> dict[str, Any]:
    script = REPOSITORY / "benchmarks" / "compress_search.py"
    running = []
    for version in versions:
        arguments = [models, camvid, "--only", "espnet_cityscapes", "--input-size", "1024x512"]
        arguments += ["--minutes", minutes, "-o", version.folder / "compress.json"]
        command = [sys.executable, str(script), *map(str, arguments)]
        running.append(subprocess.Popen(command, env=version.environment, stderr=subprocess.DEVNULL))
    codes = [process.wait() for process in running]
    if any(codes):
        raise SystemExit("compress failed")
    kept = ("sentence", "search_minutes", "whole_minutes", "left_out", "verdict")
    found = {}
    for version in versions:
        whole = load(version.folder / "compress.json")["models"]["espnet_cityscapes"]
        tries = [f"{one['idea']} ({one['rung']})" for one in whole["tries"]]
        found[version.name] = {**{key: whole[key] for key in kept}, "tries": tries}
    return {"budget_minutes": minutes, **found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path)
    parser.add_argument("models", type=Path)
    parser.add_argument("camvid", type=Path)
    parser.add_argument("--only", default="predict,check,demo,compress")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("-o", "--output", type=Path)
    given = parser.parse_args()
    revision = ["git", "-C", str(given.before), "rev-parse", "--short=12", "HEAD"]
    found: dict[str, Any] = {
        "before": subprocess.run(revision, capture_output=True, text=True, check=True).stdout.strip(),
        "load_average": [round(os.getloadavg()[0], 1)],
    }
    for name in given.only.split(","):
        with tempfile.TemporaryDirectory() as scratch:
            versions = [
                Version("before", given.before.resolve(), Path(scratch)),
                Version("now", REPOSITORY, Path(scratch)),
            ]
            if name == "compress":
                found[name] = compress(versions, given.models, given.camvid, given.minutes)
            else:
                measured = {"predict": predict, "check": check, "demo": demo}[name]
                found[name] = measured(versions, given.models, given.camvid, given.runs)
        print(json.dumps({name: found[name]}, indent=1), flush=True)
    found["load_average"].append(round(os.getloadavg()[0], 1))
    if given.output:
        save(given.output, found)


if __name__ == "__main__":
    main()
