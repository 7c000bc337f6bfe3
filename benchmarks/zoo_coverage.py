"""Exports every graph of the zoo to ONNX and Paddle-Lite and compares the outputs with Paddle's plain program.

    python benchmarks/zoo_coverage.py GRAPH.pdmodel ... --work DIR [--networks [NAME ...]] [--targets ...] [--json FILE]
        [--markdown FILE] [--limit-s SECONDS]

With an existing --json, its rows are kept; what is measured now takes the place of what they said of it. Graphs come
without weights; `tests/exporter/zoo.py` fills them. --networks adds those that `tests/exporter/networks.py` writes.
For each graph: the rewrites, ONNX through paddle2onnx and ONNX Runtime, with a fixed and a dynamic size and in int8,
Paddle-Lite compiled for x86 and run, and compiled for arm64 (not run: there is no device here), and the same network's
file of Paddle 3 (`pir/NAME.json` beside the graph) against it. What is there already in DIR is not made again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from coverage_table import markdown
from free_size import SizeIsFixed, free_size
from stamped import RESULTS, load, save

from segexport.errors import SegexportError
from segexport.exporter import pir
from segexport.exporter import program as programs
from segexport.exporter.program import Program
from segexport.exporter.program_reader import param_names
from segexport.exporter.rewrites import rewrite_for
from segexport.measure.audit import Ran, precision_of
from segexport.process.worker import Worker
from segexport.recipe.calibration import Calibration

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY / "tests" / "exporter"))
import zoo  # noqa: E402

WELL_CONDITIONED = 0.9999  # an agreement below this needs an explanation
WITH_NOISE = ("onnx", "paddle-lite x86")
SAME = 1e-6  # largest relative difference between a graph and its form of dynamic size, both in Paddle
RUNS_PROFILED = 2  # one run for the outputs, one for the profile
OPSETS = (16, 15, 13, 11)
WORKERS = {
    "onnx": REPOSITORY / "exporter/workers/onnx_worker.py",
    "onnx int8": REPOSITORY / "exporter/workers/onnx_quantize_worker.py",
    "paddle2onnx": REPOSITORY / "exporter/workers/paddle2onnx_worker.py",
    "paddlelite opt": REPOSITORY / "exporter/workers/lite_opt_worker.py",
    "paddle": REPOSITORY / "runtimes/workers/paddle_worker.py",
    "onnxruntime": REPOSITORY / "runtimes/workers/onnxruntime_worker.py",
    "paddlelite": REPOSITORY / "runtimes/workers/lite_worker.py",
}


class Workers:
    """One process per tool for all graphs, restarted after a crash."""

    def __init__(self, threads: int, timeout_s: float) -> None:
        self._threads, self._timeout_s = threads, timeout_s
        self._alive: dict[str, Worker] = {}

    def call(self, tool: str, command: str, arguments: dict, arrays: list[np.ndarray] = ()) -> list[np.ndarray]:
        return self.ask(tool, command, arguments, arrays)[1]

    def ask(self, tool: str, command: str, arguments: dict, arrays: list[np.ndarray] = ()) -> tuple[dict, list]:
        if tool not in self._alive:
            self._alive[tool] = Worker(WORKERS[tool], needs=tool.split()[0], threads=self._threads, name=tool)
        try:
            return self._alive[tool].call(command, arguments, arrays, timeout_s=self._timeout_s)
        except SegexportError:
            self._alive.pop(tool).close()
            raise

    def close(self) -> None:
        for worker in self._alive.values():
            worker.close()


def compare(found: list[np.ndarray], reference: list[np.ndarray]) -> dict:
    """The smallest agreement of an output (fraction of 1), and the largest difference / largest value."""
    pairs = [(a.astype(np.float64), b.astype(np.float64)) for a, b in zip(found, reference, strict=True)]
    if any(a.shape != b.shape for a, b in pairs):
        return {"error": f"shapes {[a.shape for a, _ in pairs]}, Paddle gives {[b.shape for _, b in pairs]}"}
    relative = max(np.abs(a - b).max() / max(np.abs(b).max(), 1e-30) for a, b in pairs if not _is_integer(b))
    return {"agreement": min(float(_same(a, b).mean()) for a, b in pairs), "relative": float(relative)}


def _same(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Pixels with the same class; for detections, equal numbers (within 0.05 pixels for a box)."""
    if b.ndim == 4:
        if np.bincount(b.argmax(1).ravel()).max() > 0.95 * b[:, 0].size:  # one class is everywhere: compare the rest
            usual = b.mean((2, 3), keepdims=True)
            a, b = a - usual, b - usual
        return a.argmax(1) == b.argmax(1)
    return np.isclose(a, b, rtol=1e-3, atol=0.0 if _is_integer(b) else 0.05)


def _is_integer(values: np.ndarray) -> bool:
    return values.ndim != 4 and bool((values == np.round(values)).all())


def onnx_row(program: Program, filled: zoo.Filled, folder: Path, workers: Workers) -> dict:
    out = folder / "model.onnx"
    rewritten, notes, opset = to_onnx(program, folder / "onnx", out, workers)
    outputs = [{"name": spec.name} for spec in rewritten.outputs()]
    found = run(workers, "onnxruntime", out, outputs, filled.feed)
    return {**compare(found, filled.outputs), "opset": opset, "rewrites": notes}


def to_onnx(program: Program, folder: Path, out: Path, workers: Workers) -> tuple[Program, list[str], int]:
    """Writes `out`; returns the converted program, the rewrites' notes and the opset."""
    rewritten, notes = rewrite_for("onnx", program)
    model, params = rewritten.write(folder)
    error: SegexportError | None = None
    for opset in OPSETS:
        try:
            workers.call(
                "paddle2onnx", "convert", {"model": str(model), "params": str(params), "onnx": str(out), "opset": opset}
            )
            return rewritten, notes, opset
        except SegexportError as failed:
            error = failed
    raise error


def free_row(program: Program, filled: zoo.Filled, folder: Path, workers: Workers) -> dict:
    """Compares ONNX with dynamic height and width with Paddle, at two sizes."""
    freed = free_size(program)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        files = dict(zip(("model", "params"), map(str, freed.write(Path(scratch) / "free")), strict=True))
        same = compare(paddle(workers, files, filled.feed), filled.outputs)
        if same.get("relative", 1.0) > SAME:
            return {"error": f"the graph of dynamic size is another one: {same}"}
        out = Path(scratch) / "free.onnx"
        rewritten, notes, opset = to_onnx(freed, Path(scratch) / "onnx", out, workers)
        outputs = [{"name": spec.name} for spec in rewritten.outputs()]
        found = {}
        for height, width in other_sizes(program):
            feed = feed_of(program, height, width, seed=7)
            reference = paddle(workers, files, feed)
            found[f"{height}x{width}"] = compare(run(workers, "onnxruntime", out, outputs, feed), reference)
    errors = [f"{size}: {one['error']}" for size, one in found.items() if "error" in one]
    if errors:
        return {"error": errors[0]}
    worst = {key: pick(one[key] for one in found.values()) for key, pick in (("agreement", min), ("relative", max))}
    return {**worst, "sizes": found, "opset": opset, "rewrites": notes}


def other_sizes(program: Program) -> list[tuple[int, int]]:
    """Two sizes that the strides divide: one lower and wider, one higher than it is wide."""
    height, width = program.shape(program.feed_names[0])[2:]
    step = 64 if height % 64 == 0 else 32
    return [(height - 2 * step, width + 2 * step), (height - step, width - 3 * step)]


def feed_of(program: Program, height: int, width: int, seed: int) -> list[np.ndarray]:
    sized = program.copy()
    image = sized.vars[sized.feed_names[0]]
    image.dims = (*image.dims[:2], height, width)
    return zoo.seeded_feed(sized, seed)


def int8_row(program: Program, filled: zoo.Filled, folder: Path, workers: Workers) -> dict:
    """Static int8 as in `QuantizeOnnx`, calibrated on the reference's input and two more."""
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        raw, fp32, int8 = folder / "model.onnx", Path(scratch) / "fp32.onnx", Path(scratch) / "int8.onnx"
        if not raw.is_file():
            to_onnx(program, folder / "onnx", raw, workers)
        arguments = {"raw": str(raw), "out": str(fp32), "metadata": {}, "simplify": True, "seed": 0}
        answer, _ = workers.ask("onnx", "finish", arguments)
        settings = {**Calibration().model_dump(mode="json"), "bias_correction": False, "axes": {}}
        workers.call("onnx int8", "begin", {"fp32": str(fp32), "scratch": scratch, "ranges": {}, **settings})
        for feed in (filled.feed, zoo.seeded_feed(program, 8), zoo.seeded_feed(program, 9)):
            workers.call("onnx int8", "observe", {"keep": ""}, feed)
        workers.call("onnx int8", "quantize", {})
        workers.call("onnx int8", "save", {"out": str(int8)})
        outputs = [{"name": one["name"]} for one in answer["outputs"]]
        options = {"profile": str(Path(scratch) / "profile")}
        found = run(workers, "onnxruntime", int8, outputs, filled.feed, options)
        operators = workers.ask("onnxruntime", "operators", {}, filled.feed)[0]["operators"]
    ran = [Ran(kind, precision_of(kind, dtype), provider) for kind, dtype, provider, _ in operators]
    products = [one.precision for one in ran if one.is_product]
    return {
        **compare(found, filled.outputs),
        "products": {kind: products.count(kind) // RUNS_PROFILED for kind in sorted(set(products))},
    }


def rounded_row(program: Program, filled: zoo.Filled, folder: Path, workers: Workers) -> dict:
    """Paddle with product weights rounded to 8 bits per channel: the network's own sensitivity to int8.

    Activations stay float, so an int8 export differs by more; if this already differs much, the network amplifies
    rounding.
    """
    rounded = program.copy()
    for op in program.compute_ops():
        slot, axis = _WEIGHTS.get(op.type, ("", 0))
        name = op.input(slot) if slot else None
        weights = rounded.params.get(name or "")
        if weights is None or weights.ndim < 2:
            continue
        others = tuple(at for at in range(weights.ndim) if at != axis % weights.ndim)
        step = np.maximum(np.abs(weights).max(others, keepdims=True), 1e-30) / 127
        rounded.params[name] = (np.round(weights / step) * step).astype(weights.dtype)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        files = dict(zip(("model", "params"), map(str, rounded.write(Path(scratch))), strict=True))
        return compare(paddle(workers, files, filled.feed), filled.outputs)


# operator -> the slot of its weights, the axis of its output channels
_WEIGHTS = {
    "conv2d": ("Filter", 0), "depthwise_conv2d": ("Filter", 0), "conv2d_transpose": ("Filter", 1),
    "matmul_v2": ("Y", -1),
}  # fmt: skip


def pir_row(_program: Program, filled: zoo.Filled, folder: Path, workers: Workers, file: Path) -> dict:
    """Compares Paddle 3's file of the network, translated, with the legacy export, with equal weights in Paddle."""
    translated = pir.read_graph(file)
    legacy = programs.read(filled.model, filled.params)
    translated.params = {name: legacy.params[name] for name in param_names(translated)}
    translated.verify(str(file))
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        files = dict(zip(("model", "params"), map(str, translated.write(Path(scratch))), strict=True))
        return compare(paddle(workers, files, filled.feed), filled.outputs)


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


def run(
    workers: Workers, tool: str, file: Path, outputs: list[dict], feed: list[np.ndarray], options: dict | None = None
) -> list[np.ndarray]:
    files = {"model": str(file)}
    arguments = {"files": files, "device": "cpu", "threads": 1, "outputs": outputs, "options": options or {}}
    workers.call(tool, "open", arguments)
    return workers.call(tool, "outputs", {}, feed)


def paddle(workers: Workers, files: dict[str, str], feed: list[np.ndarray]) -> list[np.ndarray]:
    """Runs Paddle Inference operator by operator."""
    arguments = {"files": files, "device": "cpu", "threads": 1, "options": {}, "outputs": []}
    workers.call("paddle", "open", arguments)
    return workers.call("paddle", "outputs", {}, feed)


TARGETS = {
    "onnx": onnx_row,
    "paddle-lite x86": lite_row,
    "paddle-lite arm": arm_row,
    "onnx free": free_row,
    "onnx int8": int8_row,
    "int8 weights": rounded_row,
}
PIR = "pir"


def cover(graph: Path, work: Path, workers: Workers, targets: list[str]) -> Iterator[dict]:
    """Yields the row of the table after each target."""
    folder = work / graph.stem
    filled = zoo.fill(graph, folder)
    program = programs.read(filled.model, filled.params)
    row: dict = {"graph": graph.stem, "operators": len(program.ops)}
    file = graph.parent / "pir" / f"{graph.stem}.json"
    for target in targets:
        start = time.perf_counter()
        if target == PIR and not file.is_file():
            continue
        try:
            extra = (file,) if target == PIR else ()
            found = (pir_row if target == PIR else TARGETS[target])(program, filled, folder, workers, *extra)
        except SizeIsFixed as error:
            found = {"fixed": str(error)}
        except SegexportError as error:
            found = {"error": str(error)}
        row[target] = {**found, "seconds": round(time.perf_counter() - start, 2)}
        yield row
    agreements = [row[target].get("agreement", 1.0) for target in WITH_NOISE if target in row]
    if min(agreements, default=1.0) < WELL_CONDITIONED:
        row["nudged"] = nudged(filled, workers)
        yield row


def nudged(filled: zoo.Filled, workers: Workers) -> dict:
    """The change of Paddle's result if the input changes in its last bit: the noise floor of these weights."""
    files = {"model": str(filled.model), "params": str(filled.params)}
    feed = [value * np.float32(1 + 2e-7) for value in filled.feed]
    return compare(paddle(workers, files, feed), filled.outputs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("graphs", nargs="*", type=Path)
    parser.add_argument("--networks", nargs="*", metavar="NAME", help="networks of tests/exporter; without names, all")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--targets", nargs="*", default=[*TARGETS, PIR], choices=[*TARGETS, PIR])
    parser.add_argument("--limit-s", type=float, default=900, help="time limit of one call of a tool")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    options = parser.parse_args()
    graphs = sorted(options.graphs) + networks(options.work / "networks", options.networks)
    workers, rows, start = Workers(threads=1, timeout_s=options.limit_s), _rows(options.json), time.perf_counter()
    try:
        for graph in graphs:
            for found in cover(graph, options.work, workers, options.targets):
                rows = _rows(options.json) or rows  # read again: another run may have added rows
                rows[graph.stem] = {**rows.get(graph.stem, {}), **found}
                if options.json:  # immediately, so that an interrupted run keeps its results
                    kept = [rows[name] for name in sorted(rows)]
                    save(options.json, kept)
            print(json.dumps(rows[graph.stem]), flush=True)
    finally:
        workers.close()
    print(f"{len(graphs)} graphs in {time.perf_counter() - start:.0f} s", file=sys.stderr)
    if options.markdown:
        runtimes = load(RESULTS / "runtime_zoo.json")
        options.markdown.write_text(markdown([rows[name] for name in sorted(rows)], runtimes))


def _rows(file: Path | None) -> dict[str, dict]:
    if file is None or not file.is_file():
        return {}
    return {row["graph"]: row for row in load(file)}


def networks(folder: Path, names: list[str] | None) -> list[Path]:
    """Writes the graphs of `tests/exporter/networks.py` (no names: all) with Paddle, in a separate process."""
    if names is None:
        return []
    script = REPOSITORY / "tests" / "exporter" / "networks.py"
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run([sys.executable, "-W", "ignore", str(script), str(folder), "512", *(names or ["every"])], check=True)
    return sorted(file for file in folder.glob("*.pdmodel") if not names or file.stem in names)


if __name__ == "__main__":
    main()
