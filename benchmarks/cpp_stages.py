"""Times pre- and postprocessing in C++ and in Python.

    python benchmarks/cpp_stages.py PROGRAM EXPORT RESULT.json IMAGE...

PROGRAM: `segexport_predict`, built from `runtimes/cpp`. EXPORT: an ONNX export. A round is 20 runs in C++, then 20 in
Python, so that other load affects both. Preprocessing is from decoded pixels to the tensor, postprocessing from the
model's answer to the mask of the image's size. Results are medians over 7 rounds of each round's median.
"""

from __future__ import annotations

import importlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stamped import save

from segexport import preprocess
from segexport.artifact import ModelArtifact, read_artifact
from segexport.data.images import decode_image

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path += [str(REPOSITORY / "runtimes" / "workers"), str(REPOSITORY / "src" / "segexport" / "process")]
worker_mask = importlib.import_module("mask")  # the workers' conversion of scores to a mask
RUNS, ROUNDS = 20, 7


def median_ms(work: Callable[[], Any]) -> float:
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        work()
        times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times)


def cpp_ms(program: Path, export: Path, image: Path, out: str) -> dict[str, float]:
    command = [program, export, image, "-o", out, "--runs", str(RUNS)]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = dict(line.split() for line in text.splitlines() if "_ms " in line)
    return {name.removesuffix("_ms"): float(value) for name, value in found.items()}


class InPython:
    """The stages as segexport does them, in this process."""

    def __init__(self, artifact: ModelArtifact, image: Path) -> None:
        import onnxruntime as ort

        self._manifest = artifact.manifest
        self._pixels = decode_image(image)
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        session = ort.InferenceSession(str(artifact.file("model")), options)
        tensor, self._placement = self._before()
        self._outputs = session.run(
            [spec.name for spec in self._manifest.outputs], {session.get_inputs()[0].name: tensor}
        )
        self._specs = [spec.model_dump() for spec in self._manifest.outputs]

    def times_ms(self) -> dict[str, float]:
        return {"preprocess": median_ms(self._before), "postprocess": median_ms(self._after)}

    def _before(self) -> Any:
        return preprocess.apply(self._manifest.preprocess, self._pixels)

    def _after(self) -> Any:
        index = worker_mask.choose(self._specs)
        mask, _, _ = worker_mask.to_mask(self._outputs[index], self._specs[index], want_margin=False)
        return preprocess.restore_mask(mask, self._placement)


def compared(program: Path, export: Path, image: Path) -> dict[str, Any]:
    python = InPython(read_artifact(export), image)
    found: list[tuple[dict[str, float], dict[str, float]]] = []
    with tempfile.TemporaryDirectory() as out:
        for _ in range(ROUNDS):
            found.append((cpp_ms(program, export, image, out), python.times_ms()))
    height, width = decode_image(image).shape[:2]
    inference_ms = round(statistics.median(cpp["inference"] for cpp, _ in found), 3)
    result: dict[str, Any] = {"image": f"{width}x{height}", "cpp_inference_ms": inference_ms}
    for stage in ("preprocess", "postprocess"):
        result[stage] = {
            "cpp_ms": round(statistics.median(cpp[stage] for cpp, _ in found), 3),
            "python_ms": round(statistics.median(own[stage] for _, own in found), 3),
            "cpp_to_python_ratio": round(statistics.median(cpp[stage] / own[stage] for cpp, own in found), 3),
        }
    return result


def main(program: str, export: str, result: str, *images: str) -> None:
    import cv2

    cv2.setNumThreads(1)  # C++ has one thread too
    model = read_artifact(Path(export)).manifest.name
    save(Path(result), [{"model": model, **compared(Path(program), Path(export), Path(image))} for image in images])


if __name__ == "__main__":
    main(*sys.argv[1:])
