"""Times the app's Java code without the model: the median of each stage on this machine's JVM.

    python benchmarks/android_stages.py EXPORT IMAGE [RUNS]

EXPORT: an ONNX export. Needs `android_demo/ci/fetch_tools.sh junit ort zig`. Prints JSON, where `java_share_ratio` is
(preprocess + argmax + restore to the image's size) / inference.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

CI = Path(__file__).resolve().parents[1] / "android_demo" / "ci"


def main(export: str, image: str, runs: str = "60") -> None:
    subprocess.run([CI / "build_jvm.sh"], check=True)
    command = [CI / "java.sh", "x86_64", "dev.segexport.ort.TimeStages", export, image, runs]
    stages = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    java_ms = stages["preprocess_ms"] + stages["argmax_ms"] + stages["restore_ms"]
    print(json.dumps(stages | {"java_share_ratio": round(java_ms / stages["inference_ms"], 4)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
