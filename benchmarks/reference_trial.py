"""Finds models that Paddle Inference's graph optimization changes, by three of its programs on three images.

    python benchmarks/reference_trial.py MODEL ... --work DIR [--json FILE] [--limit-s SECONDS]

MODEL is a graph without weights (`GRAPH.pdmodel`; `tests/exporter/zoo.py` fills it) or the folder of an export with its
weights. *plain* runs operator by operator, *passes* rewrites the graph first and stays without oneDNN, *oneDNN* does
both, which is what Paddle Inference does unasked. Each runs in a separate process, on three images one after the
other. `agreement` is the part of the pixels with the plain program's class (of detections: numbers that are the same),
image by image. `nudged` is what the plain program agrees with itself on when its input is multiplied by 1 + 2e-7, a
change of the last bit: random weights amplify rounding, and what differs by as little is not wrong. With an existing
--json, its rows are kept.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from stamped import load, save

from segexport.exporter import program as programs

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY / "tests" / "exporter"))
import zoo  # noqa: E402

PROGRAMS = ("plain", "passes", "oneDNN")
SEEDS = (7, 8, 9)


def row(model: Path, folder: Path, limit_s: float) -> dict:
    """The result of one model."""
    files = _files(model, folder)
    program = programs.read(*files)
    feeds = [zoo.seeded_feed(program, seed) for seed in SEEDS]
    plain = run("plain", files, feeds, folder, limit_s)
    if "error" in plain:
        return {"plain": plain}
    nudged = run("plain", files, [[one * np.float32(1 + 2e-7) for one in feed] for feed in feeds], folder, limit_s)
    found: dict = {"operators": len(list(program.compute_ops())), "plain": _times(plain)}
    if "error" not in nudged:
        found["nudged"] = same(nudged["outputs"], plain["outputs"])
    for name in PROGRAMS[1:]:
        other = run(name, files, feeds, folder, limit_s)
        found[name] = {"error": other["error"]} if "error" in other else _times(other)
        if "error" not in other:
            found[name]["agreement"] = same(other["outputs"], plain["outputs"])
    return found


def _files(model: Path, folder: Path) -> tuple[Path, Path]:
    if model.is_dir():
        (program,) = model.glob("*.pdmodel")
        return program, program.with_suffix(".pdiparams")
    filled = zoo.fill(model, folder / "filled")
    return filled.model, filled.params


def _times(found: dict) -> dict:
    return {"load_s": found["load_s"], "median_ms": found["median_ms"]}


def same(found: list[list[np.ndarray]], wanted: list[list[np.ndarray]]) -> list[float]:
    """The agreement of each image, for the output that agrees least."""
    return [
        round(min(_agreement(a, b) for a, b in zip(one, two, strict=True)), 7)
        for one, two in zip(found, wanted, strict=True)
    ]


def _agreement(a: np.ndarray, b: np.ndarray) -> float:
    if a.shape != b.shape:
        return 0.0
    if b.ndim == 4 and b.shape[1] > 1 and b.dtype.kind == "f":
        if np.bincount(b.argmax(1).ravel()).max() > 0.95 * b[:, 0].size:  # one class is everywhere: compare the rest
            usual = b.mean((2, 3), keepdims=True)
            a, b = a - usual, b - usual
        return float((a.argmax(1) == b.argmax(1)).mean())
    if b.dtype.kind in "iub":
        return float((a == b).mean())
    return float(np.isclose(a, b, rtol=1e-3, atol=0.05).mean())


def run(name: str, files: tuple[Path, Path], feeds: list[list[np.ndarray]], folder: Path, limit_s: float) -> dict:
    """Runs one program on all images, in a separate process."""
    given, out = folder / "feeds.npz", folder / f"{name}.npz"
    out.unlink(missing_ok=True)
    np.savez(given, **{f"{i}_{j}": array for i, feed in enumerate(feeds) for j, array in enumerate(feed)})
    command = [sys.executable, __file__, "--child", name, *map(str, (*files, given, out))]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit_s)
    except subprocess.TimeoutExpired:
        return {"error": f"more than {limit_s:g} s"}
    if done.returncode or not out.is_file():
        code = done.returncode
        why = signal.Signals(-code).name if code < 0 else f"exit {code}"
        lines = [line.strip() for line in done.stderr.splitlines() if "Pass::" in line or "Error" in line]
        return {"error": f"{why}: {lines[-1][:160]}" if lines else why}
    with np.load(out) as arrays:
        count = int(arrays["count"])
        outputs = [[arrays[f"{i}_{j}"] for j in range(count)] for i in range(len(feeds))]
        return {"outputs": outputs, "load_s": float(arrays["load_s"]), "median_ms": float(arrays["median_ms"])}


def _child(name: str, model: str, params: str, given: str, out: str) -> None:
    import zlib  # noqa: F401 - before paddle

    from paddle import inference

    config = inference.Config(model, params)
    config.disable_glog_info()
    config.disable_gpu()
    config.set_cpu_math_library_num_threads(1)
    config.switch_ir_optim(name != "plain")
    if name == "oneDNN":
        config.enable_mkldnn()
    else:
        config.disable_mkldnn()
    start = time.perf_counter()
    predictor = inference.create_predictor(config)
    load_s = time.perf_counter() - start
    arrays: dict[str, np.ndarray] = {}
    times = []
    with np.load(given) as feeds:
        images = 1 + max(int(key.split("_")[0]) for key in feeds.files)
        for image in range(images):
            for place, input_name in enumerate(predictor.get_input_names()):
                predictor.get_input_handle(input_name).copy_from_cpu(feeds[f"{image}_{place}"])
            start = time.perf_counter()
            predictor.run()
            times.append((time.perf_counter() - start) * 1e3)
            for place, output_name in enumerate(predictor.get_output_names()):
                arrays[f"{image}_{place}"] = predictor.get_output_handle(output_name).copy_to_cpu()
    count = len(predictor.get_output_names())
    np.savez(out, count=count, load_s=round(load_s, 3), median_ms=round(float(np.median(times)), 1), **arrays)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--json", type=Path, default=REPOSITORY / "benchmarks/results/reference_trial.json")
    parser.add_argument("--limit-s", type=float, default=600)
    arguments = parser.parse_args()
    rows = load(arguments.json) if arguments.json.is_file() else {}
    for model in sorted(arguments.models, key=lambda path: path.stem):
        folder = arguments.work / model.stem
        folder.mkdir(parents=True, exist_ok=True)
        try:
            rows[model.stem] = row(model, folder, arguments.limit_s)
        except Exception as error:  # the other models continue
            rows[model.stem] = {"error": f"{type(error).__name__}: {str(error)[:300]}"}
        print(model.stem, rows[model.stem], flush=True)
        save(arguments.json, dict(sorted(rows.items())))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        _child(*sys.argv[2:])
    else:
        main()
