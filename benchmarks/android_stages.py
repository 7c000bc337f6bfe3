"""Times the app's Java code beside the model on this machine's JVM: of a photo, and of a live camera's frames.

    python benchmarks/android_stages.py EXPORT... --image IMAGE [--runs 60]

EXPORT: ONNX exports, run by ONNX Runtime's Java library on one thread. IMAGE is scaled to 640x480 and becomes the frame
of a camera too (NV21), as it is and turned by 90 degrees, as in a phone that is held upright. A run takes all stages
in turn, so their ratios hold on a busy machine; `p10` is nearer to an idle one than `p50`. Of a portrait's model,
preprocessing and smoothing count as `mask_ms`. Needs `android_demo/ci/fetch_tools.sh junit ort zig`. Writes
results/android_stages.json:

    photo: medians of each stage; java_share_ratio = (preprocess + argmax + restore to the image's size) / inference
    live_0, live_90: stages of a frame; java_ms: all but inference; java_fps: 1000 / java_ms; inference_fps likewise;
    preview_ms: yuv + overlay, what every frame of the preview costs, also those that are not segmented
    providers: of each provider of the AAR's library the cold start, the inference, how many operators ran where, and
    the agreement of its mask with that of the CPU
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import stamped
from PIL import Image

from segexport.artifact import read_artifact
from segexport.runtimes.device_job import JobItem, read_mask, read_result, write_job

CI = stamped.REPOSITORY / "android_demo" / "ci"
RESULT = stamped.RESULTS / "android_stages.json"
SIZE = 640, 480
ROTATIONS = 0, 90
PROVIDERS = "cpu", "xnnpack", "nnapi", "qnn"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("exports", nargs="+", type=Path)
    parser.add_argument("--image", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=60)
    given = parser.parse_args()
    subprocess.run([CI / "build_jvm.sh"], check=True)
    results = {}
    with tempfile.TemporaryDirectory() as scratch:
        image = Path(scratch) / "image.png"
        Image.open(given.image).convert("RGB").resize(SIZE, Image.Resampling.BICUBIC).save(image)
        for export in given.exports:
            results[f"{export.name} {read_artifact(export).manifest.target.precision.value}"] = {
                "photo": photo(export, image, given.runs),
                "providers": providers(export, image, given.runs),
                **{f"live_{rotation}": live(export, image, rotation, given.runs) for rotation in ROTATIONS},
            }
    stamped.save(RESULT, results)
    print(json.dumps(results, indent=1))


def photo(export: Path, image: Path, runs: int) -> dict[str, Any]:
    stages = java("TimeStages", export, image, runs)
    java_ms = stages["preprocess_ms"] + stages["argmax_ms"] + stages["restore_ms"]
    return stages | {"java_share_ratio": round(java_ms / stages["inference_ms"], 4)}


def live(export: Path, image: Path, rotation: int, runs: int) -> dict[str, Any]:
    stages = java("TimeLive", export, image, rotation, runs)
    found: dict[str, Any] = {"image": "x".join(map(str, SIZE)), "layout": "nv21", "rotation": rotation, **stages}
    for percentile in ("p10", "p50"):
        took = {name: times[percentile] for name, times in stages.items()}
        java_ms = sum(took.values()) - took["inference_ms"]
        found[percentile] = {
            "java_ms": round(java_ms, 3),
            "java_fps": round(1000 / java_ms, 1),
            "inference_fps": round(1000 / took["inference_ms"], 1),
            "java_share_ratio": round(java_ms / took["inference_ms"], 4),
            "preview_ms": round(took["yuv_ms"] + took["overlay_ms"], 3),
        }
    return found


def providers(export: Path, image: Path, runs: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        job = Path(name)
        write_job(job, read_artifact(export), [JobItem(image, runs=runs)], job_id="p", warmup=2, providers=PROVIDERS)
        command = [CI / "java.sh", "x86_64", "dev.segexport.ort.RunJob", job]
        subprocess.run(command, check=True, capture_output=True)
        result = read_result(job / "result.json")
        cpu = read_mask(job, result.items[0])
        found: dict[str, Any] = {}
        for other in (None, *result.providers):
            each = result if other is None else result.on(other)
            if other is not None and other.error is not None:
                found[other.provider] = {"error": other.error.message}
            elif each.runtime is not None:
                times = each.latency()
                found[each.runtime.provider] = {
                    "load_ms": round(each.runtime.load_ms, 1),
                    "first_ms": round(times.first_ms or 0, 1),
                    "p50_ms": round(times.inference_ms.p50, 1),
                    "p90_ms": round(times.inference_ms.p90, 1),
                    "operators": each.runtime.operators,
                    "agreement": float((read_mask(job, each.items[0]) == cpu).mean()),
                }
        return found


def java(program: str, *arguments: object) -> dict[str, Any]:
    """Runs a program of the tests; returns the JSON that it prints."""
    command = [CI / "java.sh", "x86_64", f"dev.segexport.ort.{program}", *map(str, arguments)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


if __name__ == "__main__":
    main()
