"""The detector's export as PaddleDetection leaves it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from installed import require

HERE = Path(__file__).resolve().parent
CONFIG = """\
mode: paddle
draw_threshold: 0.5
metric: COCO
arch: RCNN
mask: true
Preprocess:
- {type: Resize, interp: 1, keep_ratio: true, target_size: [128, 128]}
- {type: NormalizeImage, is_scale: true, mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5]}
- {type: Permute}
- {type: PadStride, stride: 32}
label_list: [red, green]
"""


def written(folder: Path, size: str, *more: str) -> Path:
    """A detector's export as PaddleDetection leaves it: program, parameters, infer_cfg.yml."""
    require("paddle")
    command = [sys.executable, str(HERE / "detector.py"), str(folder), size, *more]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    (folder / "infer_cfg.yml").write_text(CONFIG)
    return folder
