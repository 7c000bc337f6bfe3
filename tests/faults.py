"""Models that Paddle's graph optimization gets wrong (`fault_networks`), and images for them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

HEIGHT, WIDTH, CLASSES = 32, 48, 4

DEPLOY = f"""
Deploy:
  input_shape: [1, 3, {HEIGHT}, {WIDTH}]
  model: model.pdmodel
  params: model.pdiparams
  output_op: none
  output_dtype: float32
  transforms:
  - {{type: Normalize, mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5]}}
"""


def make_networks(folder: Path) -> Path:
    """Writes `fault_networks.NETWORKS`, each into a folder of its name; returns `folder`."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("fault_networks.py")), str(folder)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    if done.returncode:
        raise RuntimeError(f"Paddle ended with {done.returncode}\n{done.stderr[-2000:]}")
    return folder


def make_images(folder: Path, count: int) -> Path:
    """A data set without labels: noise on another colour in each image."""
    (folder / "images").mkdir(parents=True)
    random = np.random.default_rng(4)
    names = [f"images/{index:02d}.png" for index in range(count)]
    for name in names:
        colour = random.uniform(40, 215, (1, 1, 3))
        blocks = random.normal(0, 40, (HEIGHT // 4, WIDTH // 4, 3)).repeat(4, 0).repeat(4, 1)
        Image.fromarray(np.clip(colour + blocks, 0, 255).astype(np.uint8)).save(folder / name)
    (folder / "val.txt").write_text("".join(f"{name}\n" for name in names))
    return folder
