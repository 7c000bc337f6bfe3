"""Every graph of the zoo through ONNX and Paddle-Lite, compared with Paddle operator by operator.

    python benchmarks/zoo_coverage.py GRAPH.pdmodel ... --work DIR [--json FILE] [--markdown FILE]

With an existing --json, the rows of other graphs in it are kept. Graphs come without weights;
`tests/exporter/zoo.py` fills them. For each graph: the rewrites, ONNX through
paddle2onnx and ONNX Runtime, Paddle-Lite compiled for x86 and run, and compiled for arm64 (not run: there is no device
here). What is there already in DIR is not made again.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import sys
import time
from pathlib import Path

import numpy as np

from segexport.errors import SegexportError
from segexport.exporter import program as programs
from segexport.exporter.program import Program
from segexport.exporter.rewrites import rewrite_for
from segexport.worker import Worker

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY / "tests" / "exporter"))
import zoo  # noqa: E402

WELL_CONDITIONED = 0.9999  # an agreement below it is explained
OPSETS = (16, 15, 13, 11)
WORKERS = {
    "paddle2onnx": REPOSITORY / "exporter/workers/paddle2onnx_worker.py",
    "paddlelite opt": REPOSITORY / "exporter/workers/lite_opt_worker.py",
    "paddle": REPOSITORY / "runtimes/workers/paddle_worker.py",
    "onnxruntime": REPOSITORY / "runtimes/workers/onnxruntime_worker.py",
    "paddlelite": REPOSITORY / "runtimes/workers/lite_worker.py",
}


class Workers:
    """One process per tool, kept for all graphs and started again after it died."""

    def __init__(self, threads: int, timeout_s: float) -> None:
        self._threads, self._timeout_s = threads, timeout_s
        self._alive: dict[str, Worker] = {}

    def call(self, tool: str, command: str, arguments: dict, arrays: list[np.ndarray] = ()) -> list[np.ndarray]:
        if tool not in self._alive:
            self._alive[tool] = Worker(WORKERS[tool], needs=tool.split()[0], threads=self._threads, name=tool)
        try:
            return self._alive[tool].call(command, arguments, arrays, timeout_s=self._timeout_s)[1]
        except SegexportError:
            self._alive.pop(tool).close()
            raise

    def close(self) -> None:
        for worker in self._alive.values():
            worker.close()


def compare(found: list[np.ndarray], reference: list[np.ndarray]) -> dict:
    """The least agreement of an output (a fraction of 1), and the largest difference over the largest value."""
    pairs = [(a.astype(np.float64), b.astype(np.float64)) for a, b in zip(found, reference, strict=True)]
    if any(a.shape != b.shape for a, b in pairs):
        return {"error": f"shapes {[a.shape for a, _ in pairs]}, Paddle gives {[b.shape for _, b in pairs]}"}
    relative = max(np.abs(a - b).max() / max(np.abs(b).max(), 1e-30) for a, b in pairs if not _is_integer(b))
    return {"agreement": min(float(_same(a, b).mean()) for a, b in pairs), "relative": float(relative)}


def _same(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Which pixels have the same class; of detections, which numbers are the same (0.05 pixels for a box)."""
    if b.ndim == 4:
        if np.bincount(b.argmax(1).ravel()).max() > 0.95 * b[:, 0].size:  # one class is everywhere: compare the rest
            usual = b.mean((2, 3), keepdims=True)
            a, b = a - usual, b - usual
        return a.argmax(1) == b.argmax(1)
    return np.isclose(a, b, rtol=1e-3, atol=0.0 if _is_integer(b) else 0.05)


def _is_integer(values: np.ndarray) -> bool:
    return values.ndim != 4 and bool((values == np.round(values)).all())


def onnx_row(program: Program, filled: zoo.Filled, folder: Path, workers: Workers) -> dict:
    rewritten, notes = rewrite_for("onnx", program)
    model, params = rewritten.write(folder / "onnx")
    out, error = folder / "model.onnx", None
    for opset in OPSETS:
        try:
            workers.call(
                "paddle2onnx", "convert", {"model": str(model), "params": str(params), "onnx": str(out), "opset": opset}
            )
            break
        except SegexportError as failed:
            error = failed
    else:
        raise error
    outputs = [{"name": spec.name} for spec in rewritten.outputs()]
    found = run(workers, "onnxruntime", out, outputs, filled.feed)
    return {**compare(found, filled.outputs), "opset": opset, "rewrites": notes}


def lite_row(program: Program, filled: zoo.Filled, folder: Path, workers: Workers) -> dict:
    rewritten, notes = rewrite_for("paddle-lite x86", program)
    compile_nb(rewritten, folder / "lite_x86", "x86", workers)
    outputs = [{"name": spec.name} for spec in rewritten.outputs()]
    found = run(workers, "paddlelite", folder / "lite_x86" / "model.nb", outputs, filled.feed)
    return {**compare(found, filled.outputs), "rewrites": notes}


def arm_row(program: Program, _filled: zoo.Filled, folder: Path, workers: Workers) -> dict:
    rewritten, notes = rewrite_for("paddle-lite arm", program)
    size = compile_nb(rewritten, folder / "lite_arm", "arm", workers)
    return {"size_bytes": size, "rewrites": notes}


def compile_nb(program: Program, folder: Path, places: str, workers: Workers) -> int:
    model, params = program.write(folder)
    nb = folder / "model.nb"
    arguments = {
        "model": str(model),
        "params": str(params),
        "stem": str(nb.with_suffix("")),
        "places": places,
        "fp16": False,
        "weight_int8": False,
    }
    workers.call("paddlelite opt", "compile", arguments)
    return nb.stat().st_size


def run(workers: Workers, tool: str, file: Path, outputs: list[dict], feed: list[np.ndarray]) -> list[np.ndarray]:
    arguments = {"files": {"model": str(file)}, "device": "cpu", "threads": 1, "outputs": outputs, "options": {}}
    workers.call(tool, "open", arguments)
    return workers.call(tool, "outputs", {}, feed)


TARGETS = {"onnx": onnx_row, "paddle-lite x86": lite_row, "paddle-lite arm": arm_row}


def cover(graph: Path, work: Path, workers: Workers, targets: list[str]) -> dict:
    """One row of the table."""
    folder = work / graph.stem
    filled = zoo.fill(graph, folder)
    program = programs.read(filled.model, filled.params)
    row: dict = {"graph": graph.stem, "operators": len(program.ops)}
    for target in targets:
        start = time.perf_counter()
        try:
            found = TARGETS[target](program, filled, folder, workers)
        except SegexportError as error:
            found = {"error": str(error)}
        row[target] = {**found, "seconds": round(time.perf_counter() - start, 2)}
    agreements = [row[target].get("agreement", 1.0) for target in targets]
    if min(agreements) < WELL_CONDITIONED:
        row["nudged"] = nudged(filled, workers)
    return row


def nudged(filled: zoo.Filled, workers: Workers) -> dict:
    """What Paddle's own result does when the input changes in its last bit: the noise floor of these weights."""
    files = {"model": str(filled.model), "params": str(filled.params)}
    arguments = {"files": files, "device": "cpu", "threads": 1, "options": {"onednn": False}, "outputs": []}
    workers.call("paddle", "open", arguments)
    feed = [value * np.float32(1 + 2e-7) for value in filled.feed]
    return compare(workers.call("paddle", "outputs", {}, feed), filled.outputs)


INTRODUCTION = """# Coverage

Made by `python benchmarks/zoo_coverage.py`; never edited by hand. Each row is a graph of a published architecture with
seeded random weights and calibrated BatchNorm statistics (`tests/exporter/zoo.py`), its input 1x3x512x512 unless the
graph says otherwise. The reference is Paddle, operator by operator, without fused passes. *ONNX* and *Lite x86*: pixels
with the same class (of detections: numbers that are the same, a box to 0.05 pixels). *Difference*: the largest one of
any output value, over the largest value. ARM files are compiled, not run. *Seconds*: rewrites, three conversions and
two runs.
Where random weights make one class win everywhere, the classes' means are taken off all logits first.
Random weights amplify rounding more than trained ones do. Rows below 99.99 % therefore say in *nudged* what Paddle
agrees with itself when its input is multiplied by 1 + 2e-7, a change of the last bit: the exports differ by as little.

"""
FOOT = "\nTools: {}.\n"


def markdown(rows: list[dict]) -> str:
    lines = [
        "| graph | operators | ONNX | difference | Lite x86 | difference | Lite arm64 | nudged | seconds | rewrites |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---|",
    ]
    for row in rows:
        cells = [row["graph"], str(row["operators"])]
        for target in ("onnx", "paddle-lite x86"):
            found = row[target]
            if "error" in found:
                cells += [found["error"].splitlines()[0].replace("|", "/"), ""]
            else:
                cells += [f"{found['agreement'] * 100:.4f} %", f"{found['relative']:.1e}"]
        arm = row["paddle-lite arm"]
        cells.append(f"{arm['size_bytes'] / 1e6:.1f} MB" if "size_bytes" in arm else arm["error"].splitlines()[0])
        cells.append(f"{row['nudged']['agreement'] * 100:.4f} %" if "nudged" in row else "")
        cells.append(f"{sum(row[target]['seconds'] for target in TARGETS):.0f}")
        names = {note.split()[0] for target in TARGETS for note in row[target].get("rewrites", [])}
        lines.append("| " + " | ".join([*cells, ", ".join(sorted(names))]) + " |")
    packages = ("paddlepaddle", "paddle2onnx", "onnxruntime", "paddlelite", "numpy")
    tools = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    return INTRODUCTION + "\n".join(lines) + "\n" + FOOT.format(tools)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("graphs", nargs="+", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--targets", nargs="+", default=list(TARGETS), choices=list(TARGETS))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    options = parser.parse_args()
    workers, rows, start = Workers(threads=1, timeout_s=300), [], time.perf_counter()
    try:
        for graph in sorted(options.graphs):
            rows.append(cover(graph, options.work, workers, options.targets))
            print(json.dumps(rows[-1]), flush=True)
    finally:
        workers.close()
    if options.json and options.json.is_file():  # rows of graphs that were not measured again
        measured = {row["graph"] for row in rows}
        rows += [row for row in json.loads(options.json.read_text()) if row["graph"] not in measured]
        rows.sort(key=lambda row: row["graph"])
    print(f"{len(rows)} graphs in {time.perf_counter() - start:.0f} s", file=sys.stderr)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    if options.markdown:
        options.markdown.write_text(markdown(rows))


if __name__ == "__main__":
    main()
