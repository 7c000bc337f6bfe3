"""Converts a runtime's output to a class mask, inside a worker. NumPy only."""

from __future__ import annotations

import time

import instances
import numpy as np
from worker_host import WorkerFailure


def choose(specs: list[dict]) -> int:
    """Returns the index of the segmentation output: the first with known semantics."""
    for index, spec in enumerate(specs):
        if spec["semantics"] in ("class_index", "probability", "logits"):
            return index
    names = [spec["name"] for spec in specs]
    raise WorkerFailure(f"none of the outputs {names} is a segmentation (logits, probability or class index)")


def to_mask(output: np.ndarray, spec: dict, want_margin: bool) -> tuple[np.ndarray, np.ndarray | None, bool]:
    """Returns (mask (H, W), margin (H, W) float32 or None, finite) for one image's output of batch 1."""
    if spec["semantics"] == "class_index":
        return _class_index(output), None, True
    scores = _scores(output, spec["layout"])
    # Both propagate NaN; faster than testing each score.
    finite = bool(np.isfinite(scores.min()) and np.isfinite(scores.max()))
    if len(scores) == 1:
        threshold = 0.5 if spec["semantics"] == "probability" else 0.0
        margin = np.abs(scores[0] - threshold) if want_margin else None
        return (scores[0] > threshold).astype(np.uint8), margin, finite
    best, mask = scores[0].copy(), np.zeros(scores.shape[1:], np.uint8 if len(scores) <= 256 else np.uint16)
    second = np.full_like(best, -np.inf) if want_margin else None
    # A loop over channels is several times faster than argmax over the slowest axis and keeps its first-wins rule.
    for index in range(1, len(scores)):
        wins = scores[index] > best
        if second is not None:
            np.maximum(second, np.minimum(best, scores[index]), out=second)
        # The index increases, so the maximum is the last winner; several times faster than a masked assignment.
        np.maximum(mask, np.multiply(wins.view(np.uint8), index, dtype=mask.dtype), out=mask)
        np.maximum(best, scores[index], out=best)
    margin = (best - second).astype(np.float32) if second is not None else None
    return mask, margin, finite


def _class_index(output: np.ndarray) -> np.ndarray:
    mask = output.reshape([size for size in output.shape if size != 1] or [1, 1])
    if mask.ndim == 1:  # the image is one pixel high or wide
        mask = output.reshape(output.shape[-2:])
    if mask.ndim != 2:
        raise WorkerFailure(f"a mask of shape {list(output.shape)} is not that of one image")
    low, high = mask.min(), mask.max()
    if low < 0 or high > 65535 or not np.isfinite(float(high)):
        raise WorkerFailure(f"class indices run from {low} to {high}")
    return mask.astype(np.uint8 if high <= 255 else np.uint16, copy=False)


def _scores(output: np.ndarray, layout: str) -> np.ndarray:
    """Returns the scores as (C, H, W) float32."""
    if output.ndim == 4:
        if output.shape[0] != 1:
            raise WorkerFailure(f"scores of shape {list(output.shape)} belong to several images")
        output = output[0]
    if output.ndim != 3:
        raise WorkerFailure(f"scores of shape {list(output.shape)} are not those of one image")
    if layout.endswith("HWC"):
        output = np.ascontiguousarray(output.transpose(2, 0, 1))
    return output.astype(np.float32, copy=False)


def to_masks(
    output: np.ndarray, spec: dict, want_margin: bool, count: int
) -> tuple[np.ndarray, np.ndarray | None, bool]:
    """Applies `to_mask` to the output of `count` images; for several, masks and margins are (count, H, W)."""
    if count == 1:
        return to_mask(output, spec, want_margin)
    if output.ndim < 3 or len(output) != count:
        raise WorkerFailure(
            f"the output {spec['name']!r} for {count} images has the shape {list(output.shape)}",
            cause="the network accepts batches of any size but returns no batch",
            hint="run it with batch size 1",
        )
    each = [to_mask(output[index : index + 1], spec, want_margin) for index in range(count)]
    masks, margins, finite = zip(*each, strict=True)
    return np.stack(masks), np.stack(margins) if margins[0] is not None else None, all(finite)


def commands(runner, state: dict) -> dict:
    """Returns the commands `infer`, `outputs` and `bench` of a worker that has opened a model.

    Args:
        runner: Takes the input arrays and returns `run() -> list of outputs`.
        state: The worker's state; `open` sets its `specs`, those of the outputs.
    """

    def infer(arguments, arrays):
        return measured(runner(arrays), state["specs"], arguments["margin"], len(arrays[0]))

    def outputs(_arguments, arrays):
        return {}, runner(arrays)()

    def timed(arguments, arrays):
        return bench(runner(arrays), arguments["runs"])

    return {"infer": infer, "outputs": outputs, "bench": timed}


def measured(run, specs: list[dict], want_margin: bool, count: int = 1) -> tuple[dict, list[np.ndarray]]:
    """Runs `run() -> list of outputs` on `count` images and answers the `infer` command."""
    if instances.are_in(specs):
        return _measured_objects(run, specs)
    index = choose(specs)
    start = time.perf_counter()
    outputs = run()
    middle = time.perf_counter()
    mask, margin, finite = to_masks(np.asarray(outputs[index]), specs[index], want_margin, count)
    end = time.perf_counter()
    times = {"inference_ms": (middle - start) * 1e3, "postprocess_ms": (end - middle) * 1e3}
    return {"finite": finite, **times}, [mask] if margin is None else [mask, margin]


def _measured_objects(run, specs: list[dict]) -> tuple[dict, list[np.ndarray]]:
    start = time.perf_counter()
    outputs = run()
    middle = time.perf_counter()
    rows, bits, size, finite = instances.objects(outputs, specs)
    end = time.perf_counter()
    times = {"inference_ms": (middle - start) * 1e3, "postprocess_ms": (end - middle) * 1e3}
    return {"finite": finite, "objects_size": size, **times}, [rows, bits]


def bench(run, runs: int) -> tuple[dict, list[np.ndarray]]:
    """Times `run` and answers the `bench` command: milliseconds, (runs,) float64."""
    times = np.empty(runs)
    for index in range(runs):
        start = time.perf_counter()
        run()
        times[index] = (time.perf_counter() - start) * 1e3
    return {}, [times]


def cpu_name() -> str:
    """Returns the CPU's name, for reports."""
    try:
        with open("/proc/cpuinfo") as lines:
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        import platform

        return platform.processor() or platform.machine()
